"""The product of two matrices, by whichever of PyTorch's two libraries is faster here.

Off Intel's processors MKL leaves half of an AVX-512 unit unused, and oneDNN, which PyTorch's convolutions run on, does
not: from some size on its float32 products take half the time. Both are exact to float32's rounding. Elsewhere, and for
small matrices, for which oneDNN takes longer to set out, this is torch.mm.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct

_WORTH = 2_500_000  # multiplications from which on it is faster, as measured
_SMALL = 4096  # no matrix with fewer values has a product that large, in practice; asked first, as it costs least
_PART, _PART_TRACED = 2**21, 2**23  # values that are added at a time: in a program each part is an operation


@cache
def prefers_onednn(information: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this is a processor with AVX-512 that is not Intel's."""
    if not torch.backends.mkldnn.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    maker = information.read_text()[:4096] if information.exists() else platform.processor()
    return "Intel" not in maker


def worth(rows: int, columns: int, inner: int) -> bool:
    """Whether a product of (rows, inner) and (inner, columns) is large enough for oneDNN to be faster."""
    return rows * columns * inner >= _WORTH and min(rows, columns, inner) > 1


_onednn: Any = direct(torch.ops.mkldnn._linear_pointwise.default) if prefers_onednn() else None
_aten_linear: Any = torch._C._nn.linear
_modes_open = torch._C._len_torch_dispatch_stack


def _fits(a: Tensor) -> bool:
    # A tensor being traced is of another type: a program says what is to be done, not by what.
    return type(a) is Tensor and a.dtype is torch.float32 and a.device.type == "cpu"


def affine(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b.   input (..., I), weight (O, I), bias (O)."""
    if _onednn is not None and weight.numel() >= _SMALL:
        columns, inner = weight.shape
        if input.shape[-1] == inner and _fits(input) and worth(input.numel() // inner, columns, inner):
            return _onednn(input, weight, bias, "none", [], "")
    return _aten_linear(input, weight, bias)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a b.   a (n, k), b (k, m)."""
    if _onednn is not None and type(a) is Tensor and a.numel() >= _SMALL:
        (rows, inner), columns = a.shape, b.shape[1]
        if _fits(a) and worth(rows, columns, inner):
            if turned(rows, columns, a):
                return _onednn(b.t(), a, None, "none", [], "").t().contiguous()
            return _onednn(a, b.t(), None, "none", [], "")
    return torch.mm(a, b)


def turned(rows: int, columns: int, a: Tensor) -> bool:
    """Whether (b^T a^T)^T is faster for oneDNN than a b: a transposed first matrix it copies. To turn the product
    takes a copy of b, as it is transposed then, and one of the result.   a (rows, inner), b (inner, columns)."""
    inner = a.shape[1]
    return a.stride() == (1, rows) and columns * (inner + rows) < rows * inner


def add_product_(sum: Tensor, a: Tensor, b: Tensor) -> None:
    """sum += a b, in place and without another tensor of its size.   sum (n, m), a (n, k), b (k, m)."""
    # While a program is traced, or its operations are listed to look it up, which must come out alike.
    traced = type(a) is not Tensor or _modes_open() > 0
    rows = max((_PART_TRACED if traced else _PART) // max(sum.shape[1], 1), 1)
    by_onednn = (
        not traced and _onednn is not None and _fits(a) and worth(min(rows, sum.shape[0]), sum.shape[1], a.shape[1])
    )
    if not (traced or by_onednn):
        sum.addmm_(a, b)
        return
    # PyTorch's compiler adds in place to a part of a tensor, but would make a whole one anew.
    for start in range(0, sum.shape[0], rows):
        sum[start : start + rows] += product(a[start : start + rows], b)
