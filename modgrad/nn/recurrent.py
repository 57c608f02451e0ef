"""Recurrent layers."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Call, Module, Parameter, Primitive
from modgrad.graph.errors import describe
from modgrad.nn import init
from modgrad.nn.dropout import Dropout

__all__ = ["LSTM"]


class LSTMDirection(Primitive):
    """One direction of one layer of an LSTM, over the whole sequence. Made at each call, on the LSTM's parameters.

    input (T, N, I), hidden and cell (N, H); returns output (T, N, H), last hidden and last cell (N, H).
    """

    autocast = "lstm"
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def __init__(self, parameters: dict[str, Any], reverse: bool = False) -> None:
        super().__init__()
        self.reverse = reverse
        self._parameter_names.update(dict.fromkeys(parameters))
        self.__dict__.update({"bias_ih": None, "bias_hh": None} | parameters)  # they have their owner

    def forward(self, call: Call, input: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        output, last_hidden, last_cell, kept = functional.lstm(input, hidden, cell, *weights, self.reverse)
        call.save(input, hidden, cell, *weights, output, last_cell, kept)
        return output, last_hidden, last_cell

    def _gradients(self, call: Any, grads: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """All of them, from one way back through time: whichever method comes first leaves them for the other."""
        known = getattr(call, "gradients_of", None)
        if known is None or any(a is not b for a, b in zip(known[0], grads, strict=True)):
            grad, grad_hidden, grad_cell = grads
            rest: tuple[Any, ...] = *call.saved, self.reverse
            gradients = functional.lstm_backward(grad, grad_hidden, grad_cell, *rest)
            call.gradients_of = known = grads, gradients
        return known[1]

    def backward(self, call: Call, *grads: Tensor | None) -> tuple[Tensor, ...]:
        return self._gradients(call, grads)[:3]

    def parameter_gradients(self, call: Call, *grads: Tensor | None) -> dict[str, Tensor | None]:
        _, _, _, weight_ih, weight_hh, bias = self._gradients(call, grads)
        found = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias, "bias_hh": bias}
        return {name: found[name] for name in call.parameters}

    def extra_repr(self) -> str:
        width, size = self.weight_ih.shape[1], self.weight_hh.shape[1]
        return f"{width}, {size}" + (", reverse=True" if self.reverse else "")


class LSTM(Module):
    """Long short-term memory: layers of `functional.lstm_cell` over a sequence.

    input (T, N, input_size), (N, T, input_size) if batch_first, or (T, input_size) for one sequence. hx: the first
    hidden and cell (D num_layers, N, hidden_size), zeros if left out; D is 2 if bidirectional, else 1.
    Returns output (T, N, D hidden_size), as the input lies, and (h_n, c_n), shaped as hx.
    dropout: what is dropped of each layer's output but the last's, in training.

    >>> from modgrad import nn
    >>> output, (h_n, c_n) = nn.LSTM(3, 4, num_layers=2)(torch.randn(7, 5, 3))
    >>> tuple(output.shape), tuple(h_n.shape)
    ((7, 5, 4), (2, 5, 4))
    """

    def __init__(
        self,
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
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if not isinstance(value, int) or value <= 0:
                raise ValueError(f"LSTM({name}={value!r}): expected a whole number above 0")
        for name, value in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(value, bool):
                raise TypeError(f"LSTM({name}={value!r}): expected True or False")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"LSTM(dropout={dropout!r}): expected a number from 0 to 1")
        if proj_size != 0:
            raise ValueError(
                f"LSTM(proj_size={proj_size}) is not there in this version: put an nn.Linear(hidden_size, proj_size) "
                "after the layer, which projects its output, though not what it hands on from step to step"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"LSTM(dropout={dropout}, num_layers=1) drops nothing: dropout comes after each layer but the last",
                stacklevel=2,
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * self._directions
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (4 * hidden_size, width),
                "weight_hh": (4 * hidden_size, hidden_size),
            }
            if bias:
                shapes |= {"bias_ih": (4 * hidden_size,), "bias_hh": (4 * hidden_size,)}
            for suffix in self._suffixes(layer):
                for name, shape in shapes.items():
                    setattr(self, name + suffix, Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        """What the names of a layer's parameters end in, one for each direction."""
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing, and is here for programs that call it: it prepares parameters for kernels of PyTorch's."""

    def forward(self, input: Any, hx: tuple[Any, Any] | None = None) -> tuple[Any, tuple[Any, Any]]:
        self._check(input, hx)
        batched = input.dim() == 3
        if not batched:
            input = input.unsqueeze(1)
        elif self.batch_first:
            input = input.transpose(0, 1)
        count = self.num_layers * self._directions
        if hx is None:
            zeros = torch.zeros(input.shape[1], self.hidden_size, device=input.device, dtype=input.dtype)
            hiddens, cells = [zeros] * count, [zeros] * count
        else:
            hiddens, cells = ((x if batched else x.unsqueeze(1)).unbind(0) for x in hx)
        output = input
        h_n: list[Any] = []
        c_n: list[Any] = []
        for layer in range(self.num_layers):
            if layer > 0 and self.training and self.dropout > 0:
                output = Dropout(self.dropout)(output)
            outputs = []
            for suffix in self._suffixes(layer):
                one, hidden, cell = self._direction(suffix)(output, hiddens[len(h_n)], cells[len(c_n)])
                outputs.append(one)
                h_n.append(hidden)
                c_n.append(cell)
            output = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        last = torch.stack(h_n), torch.stack(c_n)
        if not batched:
            return output.squeeze(1), (last[0].squeeze(1), last[1].squeeze(1))
        return output.transpose(0, 1) if self.batch_first else output, last

    def _direction(self, suffix: str) -> LSTMDirection:
        names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self.bias else [])]
        return LSTMDirection({name: self.__dict__[name + suffix] for name in names}, suffix.endswith("reverse"))

    def _check(self, input: Any, hx: Any) -> None:
        """Raise where input and hx are not what the layer takes."""
        if hasattr(input, "batch_sizes"):
            raise TypeError(
                f"{self} was given a PackedSequence, which is not taken in this version: give the padded tensor, and "
                "read each sequence's output at its own length, output[length - 1, n]"
            )
        if not isinstance(input, Tensor) or input.dim() not in (2, 3) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"{self} was given {describe(input) if isinstance(input, Tensor) else type(input).__name__}: expected "
                f"an input of shape {'(N, T' if self.batch_first else '(T, N'}, {self.input_size}), "
                f"or (T, {self.input_size}) for one sequence"
            )
        weight = self.__dict__["weight_ih_l0"]
        if input.dtype != weight.dtype:
            raise TypeError(
                f"{self} has parameters of {weight.dtype} and was given an input of {input.dtype}: write "
                f"input.to({weight.dtype})"
            )
        batch_dim = 0 if self.batch_first else 1
        if input.shape[0 if input.dim() == 2 else 1 - batch_dim] == 0:
            raise ValueError(f"{self} was given {describe(input)}: a sequence needs at least one step")
        if hx is None:
            return
        batch = () if input.dim() == 2 else (input.shape[batch_dim],)
        expected = (self.num_layers * self._directions, *batch, self.hidden_size)
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise TypeError(f"{self}: hx is {type(hx).__name__}: expected the pair (h_0, c_0)")
        for name, x in zip(("h_0", "c_0"), hx, strict=True):
            if tuple(x.shape) != expected or x.dtype != input.dtype:
                raise ValueError(f"{self}: {name} is {describe(x)}: expected shape {expected} and {input.dtype}")

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0.0)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text + (f", bidirectional={self.bidirectional}" if self.bidirectional else "")
