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

__all__ = ["Embedding"]


class Embedding(Primitive):
    """y = the rows of weight that the input numbers.   input (...) int32 or int64, y (..., embedding_dim).

    weight (num_embeddings, embedding_dim).
    padding_idx: a row that starts from 0 and whose gradient is left out; negative, it counts from the end.
    max_norm: rows are scaled down to this norm_type-norm when they are looked up, in place, before their values are
        taken; the scaling has no part in the gradient.
    scale_grad_by_freq: a row's gradient is the mean over the places that it was taken for, not the sum.
    sparse: refused, as gradients here are of their parameter's own layout.

    With padding_idx or scale_grad_by_freq the gradient is, on purpose, not the derivative; check.gradients says so.
    """

    weight: Parameter

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
        if sparse:
            raise ValueError(
                "Embedding(sparse=True): here a gradient has its parameter's layout, which optimizers and clipping "
                "rely on. Write sparse=False: the same values, in a dense tensor"
            )
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(
                    f"Embedding(padding_idx={padding_idx}): expected the number of a row, of which there are "
                    f"num_embeddings={num_embeddings}"
                )
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx, self.max_norm, self.norm_type = padding_idx, max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, False
        shape = num_embeddings, embedding_dim
        if _weight is None:
            self.weight = Parameter(torch.empty(shape, device=device, dtype=dtype), not _freeze)
            self.reset_parameters()
        elif _weight.shape != shape:
            raise ValueError(f"Embedding{shape}: _weight must have this shape, is {describe(_weight)}")
        else:
            self.weight = Parameter(_weight, not _freeze)

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

    def reset_parameters(self) -> None:
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx].zero_()

    def forward(self, call: Call, input: Tensor) -> Tensor:
        weight = self.weight
        if self.max_norm is not None and mode.tracing:
            raise NotImplementedError(
                f"{self}: max_norm changes the weight in place when rows are looked up, and a traced step changes "
                "nothing. Leave max_norm out, and scale the rows after each update with "
                "functional.embedding_renormalized(weight, max_norm, norm_type)"
            )
        try:
            if self.max_norm is not None:
                self._renormalize(input, self.max_norm)
            output = functional.embedding(input, weight)
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

    def _renormalize(self, input: Tensor, max_norm: float) -> None:
        rows = input.unique()
        taken = self.weight.index_select(0, rows)
        self.weight.index_copy_(0, rows.long(), functional.embedding_renormalized(taken, max_norm, self.norm_type))

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

    def extra_repr(self) -> str:
        options = {
            "padding_idx": (self.padding_idx, None),
            "max_norm": (self.max_norm, None),
            "norm_type": (self.norm_type, 2),
            "scale_grad_by_freq": (self.scale_grad_by_freq, False),
        }
        changed = [f", {name}={value}" for name, (value, usual) in options.items() if value != usual]
        return f"{self.num_embeddings}, {self.embedding_dim}" + "".join(changed)
