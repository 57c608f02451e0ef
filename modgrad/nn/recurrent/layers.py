"""Recurrent layers over a sequence."""

from __future__ import annotations

from typing import Any

from modgrad.nn.recurrent.base import RNNBase

__all__ = ["GRU", "LSTM", "RNN"]


class _OneState(RNNBase):
    """A layer whose only state is h."""

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        output, (last,) = self._run(input, None if hx is None else (hx,))
        return output, last


class RNN(_OneState):
    """The simple recurrent layer: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu, over a sequence.   Elman 1990.

    input (T, N, input_size), (N, T, input_size) if batch_first, (T, input_size) for one sequence, or a PackedSequence.
    hx: the first h (D num_layers, N, hidden_size), zeros if left out; D is 2 if bidirectional, else 1.
    Returns output (T, N, D hidden_size), as the input lies, and h_n, shaped as hx.
    dropout: what is dropped of each layer's output but the last's, in training.

    >>> import torch
    >>> from modgrad import nn
    >>> output, h_n = nn.RNN(3, 4, num_layers=2, nonlinearity="relu")(torch.randn(7, 5, 3))
    >>> tuple(output.shape), tuple(h_n.shape)
    ((7, 5, 4), (2, 5, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN(nonlinearity={nonlinearity!r}): expected 'tanh' or 'relu'")
        self.nonlinearity = nonlinearity
        rest = bias, batch_first, dropout, bidirectional, 0, device, dtype
        super().__init__(f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, *rest)


class GRU(_OneState):
    """Gated recurrent units: layers of `functional.gru_cell` over a sequence.   Cho et al. 2014.

    Input, hx, what is returned and dropout: as in `RNN`.

    >>> import torch
    >>> from modgrad import nn
    >>> output, h_n = nn.GRU(3, 4, bidirectional=True)(torch.randn(7, 5, 3))
    >>> tuple(output.shape), tuple(h_n.shape)
    ((7, 5, 8), (2, 5, 4))
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
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        rest = bias, batch_first, dropout, bidirectional, 0, device, dtype
        super().__init__("GRU", input_size, hidden_size, num_layers, *rest)


class LSTM(RNNBase):
    """Long short-term memory: layers of `functional.lstm_cell` over a sequence.   Hochreiter & Schmidhuber 1997.

    input (T, N, input_size), (N, T, input_size) if batch_first, (T, input_size) for one sequence, or a PackedSequence.
    hx: the first h (D num_layers, N, P) and c (D num_layers, N, hidden_size), zeros if left out; D is 2 if
    bidirectional, else 1; P is proj_size, to which h is projected, or hidden_size if that is 0.
    Returns output (T, N, D P), as the input lies, and (h_n, c_n), shaped as hx.
    dropout: what is dropped of each layer's output but the last's, in training.

    >>> import torch
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
        rest = bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        super().__init__("LSTM", input_size, hidden_size, num_layers, *rest)

    def forward(self, input: Any, hx: tuple[Any, Any] | None = None) -> tuple[Any, tuple[Any, Any]]:
        if hx is not None and (not isinstance(hx, (tuple, list)) or len(hx) != 2):
            raise TypeError(f"{self}: hx is {type(hx).__name__}: expected the pair (h_0, c_0)")
        output, last = self._run(input, None if hx is None else tuple(hx))
        return output, (last[0], last[1])
