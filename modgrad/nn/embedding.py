"""Layers that look vectors up in a table."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Call, Parameter, Primitive
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode
from modgrad.nn import init

__all__ = ["Embedding", "EmbeddingBag"]


def refuse_sparse(kind: str, sparse: bool) -> None:
    if sparse:
        raise ValueError(
            f"{kind}(sparse=True): here a gradient has its parameter's layout, which optimizers and clipping "
            "rely on. Write sparse=False: the same values, in a dense tensor"
        )


def checked_padding(kind: str, padding_idx: int | None, num_embeddings: int) -> int | None:
    """padding_idx, counted from the start."""
    if padding_idx is None:
        return None
    if not -num_embeddings <= padding_idx < num_embeddings:
        raise ValueError(
            f"{kind}(padding_idx={padding_idx}): expected the number of a row, of which there are "
            f"num_embeddings={num_embeddings}"
        )
    return padding_idx % num_embeddings


class _Table(Primitive):
    """A primitive whose parameter is a table of rows, `weight` (num_embeddings, embedding_dim)."""

    weight: Parameter
    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    max_norm: float | None
    norm_type: float

    def _make_weight(self, given: Tensor | None, trainable: bool, device: Any, dtype: Any) -> None:
        shape = self.num_embeddings, self.embedding_dim
        if given is None:
            self.weight = Parameter(torch.empty(shape, device=device, dtype=dtype), trainable)
            self.reset_parameters()
        elif given.shape != shape:
            raise ValueError(f"{type(self).__name__}{shape}: _weight must have this shape, is {describe(given)}")
        else:
            self.weight = Parameter(given, trainable)

    def reset_parameters(self) -> None:
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx].zero_()

    def _refuse_renormalizing(self) -> None:
        """Raise where rows would be scaled in a step that is being traced."""
        if self.max_norm is not None and mode.tracing:
            raise NotImplementedError(
                f"{self}: max_norm changes the weight in place when rows are looked up, and a traced step changes "
                "nothing. Leave max_norm out, and scale the rows after each update with "
                "functional.embedding_renormalized(weight, max_norm, norm_type)"
            )

    def _renormalize(self, input: Tensor) -> None:
        """Scale the rows that are looked up down to max_norm, in place."""
        if self.max_norm is None:
            return
        rows = input.unique()
        taken = self.weight.index_select(0, rows)
        scaled = functional.embedding_renormalized(taken, self.max_norm, self.norm_type)
        self.weight.index_copy_(0, rows.long(), scaled)

    def _explained(self, input: Any) -> Exception | None:
        if not isinstance(input, Tensor) or input.dtype not in (torch.int64, torch.int32):
            return TypeError(
                f"{self} was given {describe(input)}: expected the numbers of rows, an int64 or int32 tensor"
            )
        wrong = (input < 0) | (input >= self.num_embeddings)
        if not wrong.any():
            return None
        return IndexError(
            f"{self}: index {int(input[wrong][0])} is out of range: there are rows 0 to {self.num_embeddings - 1}"
        )


class Embedding(_Table):
    """y = the rows of weight that the input numbers.   input (...) int32 or int64, y (..., embedding_dim).

    weight (num_embeddings, embedding_dim).
    padding_idx: a row that starts from 0 and whose gradient is left out; negative, it counts from the end.
    max_norm: rows are scaled down to this norm_type-norm when they are looked up, in place, before their values are
        taken; the scaling has no part in the gradient.
    scale_grad_by_freq: a row's gradient is the mean over the places that it was taken for, not the sum.
    sparse: refused, as gradients here are of their parameter's own layout.

    With padding_idx or scale_grad_by_freq the gradient is, on purpose, not the derivative; check.gradients says so.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        refuse_sparse("Embedding", sparse)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = checked_padding("Embedding", padding_idx, num_embeddings)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, False
        self._make_weight(_weight, not _freeze, device, dtype)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer over the rows of `embeddings`, whose memory it shares; not to be updated unless freeze is False."""
        if embeddings.dim() != 2:
            raise ValueError(f"from_pretrained: expected (num_embeddings, embedding_dim), got {describe(embeddings)}")
        rows, columns = embeddings.shape
        return cls(
            *(rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse), embeddings, _freeze=freeze
        )

    def forward(self, call: Call, input: Tensor) -> Tensor:
        self._refuse_renormalizing()
        try:
            self._renormalize(input)
            output = functional.embedding(input, self.weight)
        except (IndexError, RuntimeError) as error:
            raise self._explained(input) or error from error
        call.save(input if "weight" in call.parameters else None)
        return output

    def backward(self, call: Call, grad: Tensor) -> None:
        """An index has no gradient."""

    def parameter_gradients(self, call: Call, grad: Tensor) -> dict[str, Tensor | None]:
        (input,) = call.saved
        padding = -1 if self.padding_idx is None else self.padding_idx
        gradient = functional.embedding_backward(grad, input, self.num_embeddings, padding, self.scale_grad_by_freq)
        return {"weight": gradient}

    def parameter_gradients_(self, call: Call, grad: Tensor, gradients: dict[str, Tensor]) -> None:
        (input,) = call.saved
        padding = -1 if self.padding_idx is None else self.padding_idx
        functional.embedding_backward_(gradients["weight"], grad, input, padding, self.scale_grad_by_freq)

    def extra_repr(self) -> str:
        options = {
            "padding_idx": (self.padding_idx, None),
            "max_norm": (self.max_norm, None),
            "norm_type": (self.norm_type, 2),
            "scale_grad_by_freq": (self.scale_grad_by_freq, False),
        }
        changed = [f", {name}={value}" for name, (value, usual) in options.items() if value != usual]
        return f"{self.num_embeddings}, {self.embedding_dim}" + "".join(changed)


class EmbeddingBag(_Table):
    """y = the sum, mean or maximum over bags of the rows of weight that the input numbers.   y (B, embedding_dim).

    input (B, N): B bags of N; or (n): one bag after another, and offsets (B), where each starts, from 0. An empty bag
    gives 0. int32 or int64. per_sample_weights: shaped as the input, by which rows are multiplied, with mode "sum".
    include_last_offset: offsets (B + 1) also say where the last bag ends, which is n.
    padding_idx: a number that is passed over, whose row starts from 0.
    max_norm, norm_type, scale_grad_by_freq, sparse: as in `Embedding`.

    >>> from modgrad import nn
    >>> bags = nn.EmbeddingBag.from_pretrained(torch.tensor([[1.0], [2.0], [4.0]]), mode="sum")
    >>> bags(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1]))
    tensor([[ 1.],
            [10.]])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        refuse_sparse("EmbeddingBag", sparse)
        if mode not in ("sum", "mean", "max"):
            raise ValueError(f"EmbeddingBag(mode={mode!r}): expected 'sum', 'mean' or 'max'")
        if mode == "max" and scale_grad_by_freq:
            raise ValueError("EmbeddingBag(mode='max', scale_grad_by_freq=True): frequencies scale a sum or a mean")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = checked_padding("EmbeddingBag", padding_idx, num_embeddings)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.mode, self.sparse = scale_grad_by_freq, mode, False
        self.include_last_offset = include_last_offset
        self._make_weight(_weight, True, device, dtype)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """A layer over the rows of `embeddings`, whose memory it shares; not to be updated unless freeze is False."""
        if embeddings.dim() != 2:
            raise ValueError(f"from_pretrained: expected (num_embeddings, embedding_dim), got {describe(embeddings)}")
        rows, columns = embeddings.shape
        rest = max_norm, norm_type, scale_grad_by_freq, mode, sparse, embeddings, include_last_offset, padding_idx
        layer = cls(rows, columns, *rest)
        layer.weight.grad_f = not freeze
        return layer

    def forward(
        self, call: Any, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        self._refuse_renormalizing()
        edges = self._edges(input, offsets, per_sample_weights)
        numbers = input.reshape(-1)
        scales = None if per_sample_weights is None else per_sample_weights.reshape(-1)
        try:
            self._renormalize(numbers)
            output, largest = functional.embedding_bag(numbers, edges, self.weight, scales, self.mode, self._padding)
        except (IndexError, RuntimeError) as error:
            raise self._explained(input) or error from error
        weight = self.weight if scales is not None and call.wants(2) else None
        call.save(numbers, edges, weight, scales if "weight" in call.parameters else None, largest)
        call.shape = input.shape
        return output

    def backward(self, call: Any, grad: Tensor) -> tuple[None, None, Tensor | None]:
        numbers, edges, weight, *_ = call.saved
        if weight is None:
            return None, None, None
        gradient = functional.embedding_bag_grad_per_sample_weights(grad, numbers, edges, weight, self._padding)
        return None, None, gradient.reshape(call.shape)

    def parameter_gradients(self, call: Call, grad: Tensor) -> dict[str, Tensor | None]:
        numbers, edges, _, scales, largest = call.saved
        rest = self.num_embeddings, scales, largest, self.mode, self._padding, self.scale_grad_by_freq
        return {"weight": functional.embedding_bag_grad_weight(grad, numbers, edges, *rest)}

    @property
    def _padding(self) -> int:
        return -1 if self.padding_idx is None else self.padding_idx

    def _edges(self, input: Any, offsets: Any, per_sample_weights: Any) -> Tensor:
        """Where bags start, and where the last one ends. Raises for what is no input."""
        if not isinstance(input, Tensor) or input.dtype not in (torch.int64, torch.int32):
            raise self._explained(input) or TypeError(f"{self} was given {describe(input)}")
        if per_sample_weights is not None:
            if self.mode != "sum":
                raise ValueError(f"{self}: per_sample_weights are for mode='sum'")
            if per_sample_weights.shape != input.shape or per_sample_weights.dtype != self.weight.dtype:
                raise ValueError(
                    f"{self}: per_sample_weights is {describe(per_sample_weights)}: expected shape "
                    f"{tuple(input.shape)}, as the input has, and {self.weight.dtype}, as the weight has"
                )
        if input.dim() == 2 and offsets is None:
            return torch.arange(input.shape[0] + 1, dtype=input.dtype, device=input.device) * input.shape[1]
        fitting = input.dim() == 1 and isinstance(offsets, Tensor) and offsets.dim() == 1
        if not fitting or offsets.dtype not in (torch.int64, torch.int32) or len(offsets) < self.include_last_offset:
            raise ValueError(
                f"{self} was given an input {describe(input)} and offsets {describe(offsets)}: expected bags of one "
                "size (B, N) and no offsets, or an input (n) and int64 or int32 offsets (B), where each bag starts"
            )
        offsets = offsets.to(input.dtype)
        if not self.include_last_offset:
            end = torch.full((1,), input.shape[0], dtype=input.dtype, device=input.device)
            offsets = torch.cat([offsets, end])
        if not mode.tracing:
            falls = (offsets[1:] < offsets[:-1]).any() | (offsets[0] != 0) | (offsets[-1] != input.shape[0])
            if falls:
                raise ValueError(
                    f"{self}: the bags are to start at offsets that do not fall, from 0 on, and to end at "
                    f"{input.shape[0]}, where the input ends; the offsets and the end are {offsets.tolist()}"
                )
        return offsets

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        text += "" if self.max_norm is None else f", max_norm={self.max_norm!r}"
        text += "" if self.norm_type == 2 else f", norm_type={self.norm_type!r}"
        text += ", scale_grad_by_freq=True" if self.scale_grad_by_freq else ""
        return f"{text}, mode={self.mode!r}" + ("" if self.padding_idx is None else f", padding_idx={self.padding_idx}")
