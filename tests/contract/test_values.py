"""Values and gradients of every row are PyTorch's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from modgrad import functional, nn
from tests.cases import CASES, FIRST, Case, Inputs, row
from tests.contract.harness import (
    EXACT,
    assert_same,
    backward,
    compare,
    drawn,
    every,
    floats,
    found,
    leaves,
    pair,
    twin_leaves,
    upstream_of,
)

# PyTorch's own convolution warns of what it does for an even kernel; modgrad's pads in the layer.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@every(inputs=True)
def test_matches_pytorch(case: Case, make: Callable[[], Inputs]) -> None:
    compare(case, make())


@every(inputs=True, sample=True)
def test_matches_pytorch_by_formulas(case: Case, make: Callable[[], Inputs]) -> None:
    with functional.formulas():
        compare(case, make())


@pytest.mark.parametrize(
    ("case", "dtype"), [row(c, c not in FIRST, d, name=f"{c}-{d}") for c in CASES for d in c.dtypes]
)
def test_matches_pytorch_in_other_dtypes(case: Case, dtype: torch.dtype) -> None:
    compare(case, case.inputs[0](), dtype=dtype)


@every(inputs=True, smooth=True, sample=True)
def test_matches_central_differences(case: Case, make: Callable[[], Inputs]) -> None:
    """Along a random direction through all inputs and parameters: (L(+h) - L(-h)) / 2h is the sum of grad * direction.

    With h = 1e-6 the truncation is about h^2 = 1e-12 of the third derivative, the rounding 1e-16 / h = 1e-10.
    """
    module, _ = pair(case)
    inputs = make()
    buffers = [b.clone() for b in module.buffers()]
    x = leaves(inputs)
    y = floats(drawn(module, *x))
    upstream = upstream_of(y)
    backward(y, upstream)
    moved = [v.detach() for v in x if isinstance(v, nn.Variable)] + [p.data for p in module.parameters()]
    gradients = list(found(module, x).values())
    directions = [torch.randn_like(value) for value in moved]
    expected = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None)
    starts = [value.clone() for value in moved]

    def loss_at(h: float) -> float:
        for value, start, direction in zip(moved, starts, directions, strict=True):
            value.copy_(start + h * direction)
        for buffer, start in zip(module.buffers(), buffers, strict=True):
            buffer.copy_(start)
        with nn.no_grad():
            return float(sum((y * u).sum() for y, u in zip(floats(drawn(module, *x)), upstream, strict=True)))

    measured = (loss_at(1e-6) - loss_at(-1e-6)) / 2e-6
    assert measured == pytest.approx(expected, rel=1e-6, abs=1e-7)


@every(sample=True)
def test_odd_memory(case: Case) -> None:
    """Inputs and upstream that are not contiguous: every other element of something larger."""

    def spread(x: Tensor) -> Tensor:
        wide = torch.full((*x.shape, 2), 7).to(x.dtype)
        wide[..., 0] = x
        return wide[..., 0]

    module, twin = pair(case)
    inputs = case.inputs[0]()
    x = [nn.Variable(spread(v)) if v.is_floating_point() else spread(v) for v in inputs]
    x_twin = twin_leaves(inputs)
    y, y_twin = floats(drawn(module, *x)), floats(drawn(twin, *x_twin))
    upstream = upstream_of(y)
    backward(y, [spread(u) for u in upstream])
    backward(y_twin, upstream)
    assert_same(found(module, x), found(twin, x_twin), **EXACT)
