"""What the tests of the contract share: pairs of a row's module and its twin, and how they are compared.

PyTorch's autograd is the oracle. Upstream gradients are random: a sum or ones upstream would test softmax and the norms
with 0 against 0. Tolerances in float64 are a few hundred roundings (eps 2.2e-16) of values around 1; in float32 and
bfloat16 they are PyTorch's own for comparing two orders of summation.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import models, nn
from tests.cases import CASES, FIRST, Case, Inputs, row

_FOUND = [*walk_packages(nn.__path__, "modgrad.nn."), *walk_packages(models.__path__, "modgrad.models.")]
_FILES = [import_module(found.name) for found in _FOUND]
# Every primitive of the package by name, but for those that are only there to be derived from.
_ALL = {v for file in _FILES for v in vars(file).values() if isinstance(v, type) and issubclass(v, nn.Primitive)}
PRIMITIVES = {
    v.__name__: v
    for v in _ALL
    if v.__module__.startswith(("modgrad.nn.", "modgrad.models."))
    and (not v.__subclasses__() or getattr(nn, v.__name__, None) is v)
}
EXACT = {"rtol": 1e-12, "atol": 1e-13}
CLOSE: dict[torch.dtype, dict[str, float]] = {torch.float64: EXACT}  # PyTorch's defaults for the others


def every(inputs: bool = False, smooth: bool = False, first: bool = False, sample: bool = False) -> Any:
    """Run a test for each case (or each primitive's first); with `inputs`, for each input of each (smooth) one.

    sample: all but each primitive's first case and first input is left to `make test-all`.
    """
    if not inputs:
        return pytest.mark.parametrize(
            "case", [row(c, False) for c in FIRST] if first else [row(c, sample and c not in FIRST) for c in CASES]
        )
    cases = [case for case in CASES if (case.smooth and case.is_derivative) or not smooth]
    rows = [
        row(c, sample and (c not in FIRST or i > 0), make, name=f"{c}-{i}")
        for c in cases
        for i, make in enumerate([*c.inputs, *_empty(c)])
    ]
    return pytest.mark.parametrize(("case", "make"), rows)


def _empty(case: Case) -> list[Callable[[], Inputs]]:
    return [case.empty] if case.empty is not None else []


def pair(case: Case, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, torch.nn.Module]:
    """The thing and its twin, with the same random parameters and buffers."""
    module, twin = case.make().to(dtype), case.make_twin().to(dtype)
    with torch.no_grad():
        for name, value in twin.state_dict().items():
            if value.is_floating_point() and name != "weight_of_classes":
                value.copy_(torch.rand_like(value) + 0.5)  # positive, as a variance must be
    module.load_state_dict(twin.state_dict())
    module.train(case.training)
    twin.train(case.training)
    return module, twin


def cast(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    return tuple(x.to(dtype) if x.is_floating_point() else x for x in inputs)


def leaves(inputs: Inputs) -> list[Any]:
    """Variables of the float inputs, on memory of their own; the others as they are."""
    return [nn.Variable(x.clone()) if x.is_floating_point() else x for x in inputs]


def twin_leaves(inputs: Inputs) -> list[Tensor]:
    return [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]


def floats(outputs: Any) -> list[Any]:
    """The outputs that have gradients."""
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [y for y in outputs if y.is_floating_point()]


def upstream_of(outputs: list[Any]) -> list[Tensor]:
    return [torch.randn(y.shape, dtype=torch.float64).to(y.dtype) for y in outputs]


def weighted(outputs: list[Any], upstream: list[Tensor]) -> Any:
    """A scalar whose gradient with respect to each output is the one given."""
    total: Any = 0
    for y, grad in zip(outputs, upstream, strict=True):
        total = (y * grad).sum() + total
    return total


def drawn(use: Callable[..., Any], *arguments: Any) -> Any:
    """`use(*arguments)`, with the same random numbers to draw each time: modgrad's dropout draws as PyTorch's does."""
    torch.manual_seed(1)
    return use(*arguments)


def backward(outputs: Any, upstream: list[Tensor]) -> None:
    if len(upstream) == 1:
        outputs[0].backward(upstream[0])
    else:
        weighted(outputs, upstream).backward()


def found(module: Any, inputs: list[Any]) -> dict[str, Tensor | None]:
    """The gradients of inputs and parameters, by number and name."""
    gradients = {str(i): x.grad for i, x in enumerate(inputs) if x.is_floating_point()}
    return gradients | {name: p.grad for name, p in module.named_parameters()}


def assert_same(mine: dict[str, Any], theirs: dict[str, Any], **tolerance: float) -> None:
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        expected = torch.zeros_like(mine[name]) if gradient is None and mine[name] is not None else gradient
        if expected is None or mine[name] is None:
            assert expected is None or not expected.any(), f"{name}: no gradient, expected {expected}"
            continue
        torch.testing.assert_close(mine[name], expected, msg=lambda m, n=name: f"{n}: {m}", **tolerance)


def compare(
    case: Case,
    inputs: Inputs,
    use: Callable[[Any, list[Any]], Any] = lambda module, x: module(*x),
    dtype: torch.dtype = torch.float64,
) -> None:
    """Values and gradients of `use(module, inputs)`, against PyTorch's."""
    module, twin = pair(case, dtype)
    x, x_twin = leaves(cast(inputs, dtype)), twin_leaves(cast(inputs, dtype))
    y, y_twin = floats(drawn(use, module, x)), floats(drawn(use, twin, x_twin))
    tolerance = CLOSE.get(dtype, {})
    for mine, theirs in zip(y, y_twin, strict=True):
        torch.testing.assert_close(mine.detach(), theirs.detach(), equal_nan=True, **tolerance)
    upstream = upstream_of(y)
    backward(y, upstream)
    backward(y_twin, upstream)
    assert_same(found(module, x), found(twin, x_twin), equal_nan=True, **tolerance)
    for name, buffer in module.named_buffers():
        torch.testing.assert_close(buffer, twin.get_buffer(name), **tolerance)


def one(outputs: Any) -> Any:
    """A single float output of a module that may have several."""
    return floats(outputs)[0]
