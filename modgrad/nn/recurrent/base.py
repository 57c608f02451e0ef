"""What recurrent layers share: the primitive of one direction, and the layer that is made of them."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.functional import Given, Layer, LayerGradients, Order, Wanted, Weights
from modgrad.graph import Call, Module, Parameter, Primitive
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode as switches
from modgrad.nn import init
from modgrad.nn.dropout import Dropout
from modgrad.nn.utils.rnn import columns_of, sizes_of, with_data

__all__ = ["RNNBase"]

# Which functions compute a layer of each kind, and how many gates it has.
KINDS: dict[str, tuple[Any, Any, int]] = {
    "LSTM": (functional.lstm, functional.lstm_backward, 4),
    "GRU": (functional.gru, functional.gru_backward, 3),
    "RNN_TANH": (functional.rnn_tanh, functional.rnn_tanh_backward, 1),
    "RNN_RELU": (functional.rnn_relu, functional.rnn_relu_backward, 1),
}


def wrong_dtype(given: torch.dtype, expected: torch.dtype) -> bool:
    """Whether what was given does not fit. Where autocast is on it casts what comes, unless that is float64."""
    return given != expected and (switches.autocast is None or torch.float64 in (given, expected))


class Recurrence(Primitive):
    """What runs one direction of one layer, of any kind, over time; the parameters are its own."""

    mode: str
    weight_ih: Any
    weight_hh: Any
    bias_ih: Any
    bias_hh: Any

    def computed(self, call: Any, input: Tensor, first: tuple[Tensor, ...], order: Order) -> Layer:
        """The layer's values, and what its derivative needs saved."""
        own = self.__dict__
        weights = Weights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, own.get("weight_hr"))
        layer: Layer = KINDS[self.mode][0](input, first, weights, order)
        needed = call.parameters or any(x.dtype is torch.uint8 for x in layer.kept)
        call.save(input if needed else None, *first, *weights, layer.output, *layer.kept)
        call.states, call.steps = len(first), order
        return layer

    def gradients(self, call: Any, grad: Tensor | None, *grad_last: Tensor | None) -> LayerGradients:
        """All that are wanted, from one way back through time: whoever asks first leaves them for the other."""
        grads = grad, *grad_last
        known = getattr(call, "gradients_of", None)
        if known is None or any(a is not b for a, b in zip(known[0], grads, strict=True)):
            input, *rest = call.saved
            count = call.states
            first, weights = tuple(rest[:count]), Weights(*rest[count : count + 5])
            output, *kept = rest[count + 5 :]
            wanted = Wanted(call.wants(0), bool(call.parameters))
            given, layer = Given(input, first, weights, call.steps), Layer(output, (), tuple(kept))
            call.gradients_of = known = grads, KINDS[self.mode][1](grad, grad_last, given, layer, wanted)
        return known[1]

    def named(self, call: Call, gradients: LayerGradients) -> dict[str, Tensor | None]:
        """The gradients of the parameters that want one."""
        assert gradients.weights is not None
        found = gradients.weights._asdict()
        return {name: found[name] for name in call.parameters}


class Direction(Recurrence):
    """One direction of one layer over the whole sequence. Made at each call, on the parameters of the layer.

    input (T, N, I) or packed (R, I), states (N, H); returns the output (T, N, H) or (R, H), and the last states (N, H).
    """

    def __init__(self, mode: str, parameters: dict[str, Any], order: Order) -> None:
        super().__init__()
        self.mode, self.order = mode, order
        self.autocast = {"LSTM": "lstm", "GRU": "gru"}.get(mode, "rnn")
        if mode == "LSTM" and (order.sizes is not None or "weight_hr" in parameters):  # which have not one kernel
            self.autocast = "lstm_projected" if "weight_hr" in parameters else "lstm_packed"
        self._parameter_names.update(dict.fromkeys(parameters))
        self.__dict__.update({"bias_ih": None, "bias_hh": None} | parameters)  # they have their owner

    def forward(self, call: Call, input: Tensor, *first: Tensor) -> tuple[Tensor, ...]:
        layer = self.computed(call, input, first, self.order)
        return layer.output, *layer.last

    def backward(self, call: Call, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        gradients = self.gradients(call, *grads)
        return gradients.input, *gradients.first

    def parameter_gradients(self, call: Call, *grads: Tensor | None) -> dict[str, Tensor | None]:
        return self.named(call, self.gradients(call, *grads))

    def extra_repr(self) -> str:
        width, size = self.weight_ih.shape[1], self.weight_hh.shape[1]
        return f"{self.mode}, {width}, {size}" + (", reverse=True" if self.order.reverse else "")


class RNNBase(Module):
    """Layers of recurrence over a sequence, in one direction or in both. `RNN`, `GRU` and `LSTM` are made of it.

    mode: "RNN_TANH", "RNN_RELU", "GRU" or "LSTM".
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional, self.proj_size = bidirectional, proj_size
        self._check_arguments()
        self.dropout = float(dropout)
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                for name, shape in self._shapes(layer).items():
                    setattr(self, name + suffix, Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def _check_arguments(self) -> None:
        kind = type(self).__name__
        if self.mode not in KINDS:
            raise ValueError(f"{kind}(mode={self.mode!r}): expected {', '.join(map(repr, KINDS))}")
        for name in ("input_size", "hidden_size", "num_layers"):
            value = getattr(self, name)
            if not isinstance(value, int) or value <= 0:
                raise ValueError(f"{kind}({name}={value!r}): expected a whole number above 0")
        for name in ("bias", "batch_first"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{kind}({name}={getattr(self, name)!r}): expected True or False")
        if isinstance(self.dropout, bool) or not 0 <= self.dropout <= 1:
            raise ValueError(f"{kind}(dropout={self.dropout!r}): expected a number from 0 to 1")
        if self.proj_size and self.mode != "LSTM":
            raise ValueError(f"{kind}(proj_size={self.proj_size}): only an LSTM has a projection")
        if not 0 <= self.proj_size < self.hidden_size:
            raise ValueError(
                f"{kind}(proj_size={self.proj_size}): expected a number from 0, for none, to below hidden_size="
                f"{self.hidden_size}"
            )
        if self.dropout > 0 and self.num_layers == 1:
            warnings.warn(
                f"{kind}(dropout={self.dropout}, num_layers=1) drops nothing: dropout comes after each layer but the "
                "last",
                stacklevel=4,
            )

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _widths(self) -> tuple[int, ...]:
        """Of the states: h, and for an LSTM c."""
        output = self.proj_size or self.hidden_size
        return (output, self.hidden_size) if self.mode == "LSTM" else (output,)

    def _shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """The parameters of one direction of a layer."""
        rows, output = KINDS[self.mode][2] * self.hidden_size, self._widths[0]
        width = self.input_size if layer == 0 else output * self._directions
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width), "weight_hh": (rows, output)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        return shapes | ({"weight_hr": (self.proj_size, self.hidden_size)} if self.proj_size else {})

    def _suffixes(self, layer: int) -> list[str]:
        """What the names of a layer's parameters end in, one for each direction."""
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each direction of each layer."""
        return [
            [self.__dict__[name + suffix] for name in self._shapes(layer)]
            for layer in range(self.num_layers)
            for suffix in self._suffixes(layer)
        ]

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing, and is here for programs that call it: it prepares parameters for kernels of PyTorch's."""

    def _run(self, input: Any, hx: tuple[Any, ...] | None) -> tuple[Any, tuple[Any, ...]]:
        """The output, laid out as the input, and the last states, (D num_layers, N, H) each.

        hx: the first states, as many as the kind has. input: a tensor, or a PackedSequence, which comes out again.
        """
        if hasattr(input, "batch_sizes"):
            return self._run_packed(input, hx)
        self._check_input(input)
        batched = input.dim() == 3
        if hx is not None:
            self._check_states(hx, input.shape[0 if self.batch_first else 1] if batched else None, input.dtype)
        if not batched:
            input = input.unsqueeze(1)
            hx = None if hx is None else tuple(x.unsqueeze(1) for x in hx)
        elif self.batch_first:
            input = input.transpose(0, 1)
        output, last = self._through_layers(input, input.shape[1], hx, None)
        if not batched:
            return output.squeeze(1), tuple(x.squeeze(1) for x in last)
        return output.transpose(0, 1) if self.batch_first else output, last

    def _run_packed(self, packed: Any, hx: tuple[Any, ...] | None) -> tuple[Any, tuple[Any, ...]]:
        data, sizes = packed.data, sizes_of(packed)
        self._check_data(data, sizes)
        if hx is not None:
            self._check_states(hx, sizes[0], data.dtype)
        to_sorted, back = packed.sorted_indices, packed.unsorted_indices
        if switches.tracing and (columns := columns_of(packed)) is not None:
            to_sorted, back = columns, sorted(range(len(columns)), key=columns.__getitem__)
        if hx is not None and to_sorted is not None:
            hx = tuple(x[:, to_sorted] for x in hx)
        output, last = self._through_layers(data, sizes[0], hx, sizes)
        return with_data(packed, output), last if back is None else tuple(x[:, back] for x in last)

    def _through_layers(
        self, input: Any, count: Any, hx: tuple[Any, ...] | None, sizes: tuple[int, ...] | None
    ) -> tuple[Any, tuple[Any, ...]]:
        """input (T, N, I), or of packed sequences (R, I); count: N."""
        if hx is None:
            widths = self._widths
            zeros = {width: torch.zeros(count, width, device=input.device, dtype=input.dtype) for width in widths}
            firsts = [tuple(zeros[width] for width in widths)] * (self.num_layers * self._directions)
        else:
            firsts = list(zip(*(x.unbind(0) for x in hx), strict=True))
        own, names = self.__dict__, self._shapes(0)
        output = input
        lasts: list[Any] = []
        for layer in range(self.num_layers):
            if layer > 0 and self.training and self.dropout > 0:
                output = Dropout(self.dropout)(output)
            outputs = []
            for suffix in self._suffixes(layer):
                order = Order(suffix.endswith("reverse"), sizes)
                parameters = {name: own[name + suffix] for name in names}
                one, *last = Direction(self.mode, parameters, order)(output, *firsts[len(lasts)])
                outputs.append(one)
                lasts.append(last)
            output = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        return output, tuple(torch.stack(states) for states in zip(*lasts, strict=True))

    def _check_input(self, input: Any) -> None:
        if not isinstance(input, Tensor) or input.dim() not in (2, 3) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"{self} was given {describe(input) if isinstance(input, Tensor) else type(input).__name__}: expected "
                f"an input of shape {'(N, T' if self.batch_first else '(T, N'}, {self.input_size}), "
                f"or (T, {self.input_size}) for one sequence"
            )
        self._check_dtype(input.dtype)
        if input.shape[1 if self.batch_first and input.dim() == 3 else 0] == 0:
            raise ValueError(f"{self} was given {describe(input)}: a sequence needs at least one step")

    def _check_data(self, data: Any, sizes: tuple[int, ...]) -> None:
        """Raise where a PackedSequence is none that the layer takes."""
        falling = all(a >= b > 0 for a, b in pairwise(sizes))
        if data.dim() != 2 or data.shape[1] != self.input_size or not sizes or not falling or sum(sizes) != len(data):
            raise ValueError(
                f"{self} was given a PackedSequence of {describe(data)} with batch_sizes {list(sizes)}: expected data "
                f"(R, {self.input_size}), R being the sum of batch_sizes, which do not grow"
            )
        self._check_dtype(data.dtype)

    def _check_dtype(self, dtype: torch.dtype) -> None:
        weight = self.__dict__["weight_ih_l0"]
        if wrong_dtype(dtype, weight.dtype):
            raise TypeError(
                f"{self} has parameters of {weight.dtype} and was given an input of {dtype}: write "
                f"input.to({weight.dtype})"
            )

    def _check_states(self, hx: tuple[Any, ...], count: Any, dtype: torch.dtype) -> None:
        """Raise where the first states are not what the layer takes.   count: N, or None for one sequence."""
        batch = () if count is None else (count,)
        for name, x, width in zip(("h_0", "c_0"), hx, self._widths, strict=False):
            expected = (self.num_layers * self._directions, *batch, width)
            if not isinstance(x, Tensor) or tuple(x.shape) != expected or wrong_dtype(x.dtype, dtype):
                raise ValueError(f"{self}: {name} is {describe(x)}: expected shape {expected} and {dtype}")

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        usual = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        for name, default in (usual | {"bidirectional": False}).items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text
