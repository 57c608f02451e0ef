"""Activations made of straight pieces."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from modgrad import functional
from modgrad.nn.activation.base import InPlace, OfInput, OfOutput, WithOptions

__all__ = ["Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "ReLU6", "Softshrink"]


class Hardtanh(WithOptions):
    """y = min(max(x, min_val), max_val). min_value and max_value are PyTorch's old names of the two."""

    function = staticmethod(functional.hardtanh)
    derivative = staticmethod(functional.hardtanh_backward)
    derivative_ = staticmethod(functional.hardtanh_backward_)
    options = ("min_val", "max_val")

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        for old, new, given in (("min_value", "min_val", min_value), ("max_value", "max_val", max_value)):
            if given is not None:
                warnings.warn(f"{type(self).__name__}({old}=...): write {new}={given}", FutureWarning, stacklevel=2)
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if self.max_val <= self.min_val:
            raise ValueError(
                f"{type(self).__name__}(min_val={self.min_val}, max_val={self.max_val}): expected the lower one first"
            )

    def keeps_output(self) -> bool:
        return True


class ReLU6(Hardtanh):
    """y = min(max(x, 0), 6)."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return "inplace=True" * self.inplace


class Hardsigmoid(InPlace, OfInput):
    """y = min(max(x + 3, 0), 6) / 6."""

    function = staticmethod(functional.hardsigmoid)
    derivative = staticmethod(functional.hardsigmoid_backward)
    derivative_ = staticmethod(functional.hardsigmoid_backward_)

    def extra_repr(self) -> str:
        return ""


class Hardswish(InPlace, OfInput):
    """y = x min(max(x + 3, 0), 6) / 6."""

    function = staticmethod(functional.hardswish)
    derivative = staticmethod(functional.hardswish_backward)

    def extra_repr(self) -> str:
        return ""


class Hardshrink(WithOptions):
    """y = x where |x| > lambd, else 0."""

    function = staticmethod(functional.hardshrink)
    derivative = staticmethod(functional.hardshrink_backward)
    derivative_ = staticmethod(functional.hardshrink_backward_)
    options = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def keeps_output(self) -> bool:
        return True

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softshrink(OfOutput):
    """y = x - lambd where x > lambd, x + lambd where x < -lambd, else 0."""

    derivative = staticmethod(functional.softshrink_backward)
    derivative_ = staticmethod(functional.softshrink_backward_)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        if lambd < 0:
            raise ValueError(f"Softshrink(lambd={lambd}): expected 0 or more")
        self.lambd = lambd

    def function(self, input: Tensor) -> Any:
        return functional.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"
