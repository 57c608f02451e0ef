"""Recurrent layers of one step, for loops of one's own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from modgrad.functional import Order
from modgrad.graph import Call, Module, Parameter
from modgrad.graph.errors import describe
from modgrad.graph.hooks import THERE, begun, due
from modgrad.graph.hooks import call as call_with_hooks
from modgrad.nn import init
from modgrad.nn.recurrent.base import Recurrence, wrong_dtype

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(Module):
    """The parameters of one step. `RNNCell`, `GRUCell` and `LSTMCell` are made of it."""

    weight_ih: Any
    weight_hh: Any

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        for name, shape in {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}.items():
            self.register_parameter(name, Parameter(torch.empty(shape, device=device, dtype=dtype)))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(torch.empty(rows, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}" + ("" if self.bias is True else f", bias={self.bias}")
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text + ("" if nonlinearity == "tanh" else f", nonlinearity={nonlinearity}")


class Step(Recurrence):
    """One step: a layer over packed sequences of one.   input (N, I), states (N, H); returns the states after it."""

    input_size: int
    hidden_size: int
    states = 1

    def forward(self, call: Call, input: Tensor, *first: Tensor) -> Any:
        layer = self.computed(call, input, first, Order(sizes=(input.shape[0],)))
        return layer.last if self.states > 1 else layer.last[0]

    def backward(self, call: Call, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        gradients = self.gradients(call, None, *grads)
        return gradients.input, *gradients.first

    def parameter_gradients(self, call: Call, *grads: Tensor | None) -> dict[str, Tensor | None]:
        return self.named(call, self.gradients(call, None, *grads))

    def __call__(self, input: Any, hx: Any = None) -> Any:
        """For a batch or, of one dimension less, for one sequence."""
        if THERE and due(self):
            return call_with_hooks(self, (input, hx), {})
        first = None if hx is None else (hx,) if self.states == 1 else hx
        if first is not None and (not isinstance(first, (tuple, list)) or len(first) != self.states):
            raise TypeError(f"{self}: hx is {type(hx).__name__}: expected the pair (h, c)")
        if not isinstance(input, Tensor) or input.dim() not in (1, 2) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"{self} was given {describe(input)}: expected an input of shape (N, {self.input_size}), or "
                f"({self.input_size}) for one sequence"
            )
        if first is None:
            shape = (*input.shape[:-1], self.hidden_size)
            first = (torch.zeros(shape, dtype=input.dtype, device=input.device),) * self.states
        expected = (*input.shape[:-1], self.hidden_size)
        for x in first:
            if not isinstance(x, Tensor) or x.shape != expected or wrong_dtype(x.dtype, input.dtype):
                raise ValueError(
                    f"{self}: hx is {describe(x)}: expected shape {expected} and "
                    f"{input.dtype}, as the input is {describe(input)}"
                )
        batched = input.dim() == 2
        if not batched:
            input, first = input.unsqueeze(0), tuple(x.unsqueeze(0) for x in first)
        if THERE:
            begun(self)
        after: Any = super().__call__(input, *first)
        if batched:
            return after
        return after.squeeze(0) if self.states == 1 else tuple(x.squeeze(0) for x in after)


class RNNCell(RNNCellBase, Step):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu.   Elman 1990.

    input (N, input_size), hx: h (N, hidden_size), zeros if left out; both of one dimension less for one sequence.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNNCell(nonlinearity={nonlinearity!r}): expected 'tanh' or 'relu'")
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    @property
    def autocast(self) -> str:
        return f"rnn_{self.nonlinearity}_cell"

    @property
    def mode(self) -> str:  # type: ignore[override]
        return f"RNN_{self.nonlinearity.upper()}"


class GRUCell(RNNCellBase, Step):
    """`functional.gru_cell`, one step of gated recurrent units.   Cho et al. 2014.

    input (N, input_size), hx: h (N, hidden_size), zeros if left out; both of one dimension less for one sequence.
    """

    mode = "GRU"

    autocast = "gru_cell"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)


class LSTMCell(RNNCellBase, Step):
    """`functional.lstm_cell`, one step of long short-term memory.   Hochreiter & Schmidhuber 1997.

    input (N, input_size), hx: (h, c) (N, hidden_size) each, zeros if left out; of one dimension less for one sequence.
    Returns h' and c'.
    """

    mode = "LSTM"
    states = 2

    autocast = "lstm_cell"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)
