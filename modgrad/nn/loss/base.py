"""What losses share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from modgrad.graph import Buffer, Parameter, Primitive, Variable
from modgrad.graph.dispatch import wants_gradient
from modgrad.graph.mode import mode


def checked_reduction(
    name: str, size_average: None, reduce: None, reduction: str, known: Sequence[str] = ("mean", "sum", "none")
) -> str:
    """`reduction`, if the loss of this name knows it."""
    choice = ", ".join(f'"{one}"' for one in known[:-1]) + f' or "{known[-1]}"'
    if size_average is not None or reduce is not None:
        raise TypeError(f"{name}: size_average and reduce are gone in PyTorch too: write reduction={choice}")
    if reduction not in known:
        raise ValueError(f"{name}(reduction={reduction!r}): expected {choice}")
    return reduction


class Loss(Primitive):
    """What losses share: `reduction` is "mean", "sum", or "none" for each value by itself."""

    reductions: ClassVar[Sequence[str]] = ("mean", "sum", "none")

    def __init__(self, size_average: None = None, reduce: None = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = checked_reduction(type(self).__name__, size_average, reduce, reduction, self.reductions)

    def extra_repr(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


def constant(owner: Any, name: str, weight: Tensor | None) -> Tensor | None:
    """A weight that a loss is made with. One that is to be trained would stay as it is, in silence."""
    if mode.recording and wants_gradient(weight):
        raise TypeError(
            f"{type(owner).__name__}({name}=...) gets no gradient: give {name}.detach(); or, to train it, take the "
            f'terms, with reduction="none", and multiply them by it'
        )
    return weight.detach() if isinstance(weight, (Variable, Parameter)) else weight


def weight_buffer(owner: Any, name: str, weight: Tensor | None) -> Any:
    """Such a weight as the loss keeps it."""
    return Buffer(constant(owner, name, weight))
