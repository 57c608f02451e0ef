"""PyTorch's routes to an exported step: what the table says of each, and that the script can tell a wrong weight."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("onnxscript")

from benchmarks.stock_routes.__main__ import ROUTES, Outcome, apart, told


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome("KeyError: x"), "fails: KeyError: x"),
        (Outcome(None), "exports the loss alone, the weights stay as they are"),
        (Outcome(None, 2.5e-7), "2.5e-07"),
        (Outcome(None, 0.02), "exports, **wrong in silence**: 0.02"),
        (Outcome(None, math.nan), "exports, **wrong in silence**: nan"),
    ],
)
def test_what_the_table_says(outcome: Outcome, words: str) -> None:
    assert str(outcome) == words


def test_an_error_in_short() -> None:
    cause = "<class 'a.b.DispatchError'>: No function for <OpOverload(op='aten.f', overload='default')>. Further"
    assert told(RuntimeError(f"Failed.\n## Exception summary\n{cause}")) == "DispatchError: No function for `aten.f`"
    assert told(ValueError("one|two\nthree")) == "ValueError: one\\|two"


@pytest.mark.thorough
@pytest.mark.parametrize("subject", ["mlp", "cnn"])
def test_modgrad_and_the_recipe_are_right_and_the_stock_route_is_not(subject: str) -> None:
    assert len(ROUTES) == 9
    stock = apart("make_fx", subject)
    assert stock.error is not None or not stock.difference < 1e-3  # type: ignore[operator]
    for route in ("hand", "modgrad"):
        found = apart(route, subject)
        assert found.error is None
        assert found.difference is not None
        assert found.difference < 2e-5
