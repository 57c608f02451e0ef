from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modgrad import functional
from modgrad.functional import Given, Order, Wanted, Weights
from tests.functional.arguments.make import Arguments, normal

SIZES = (3, 2, 2, 1)


def layer(gates: int, states: int = 1, projected: int | None = None) -> list[tuple[Any, ...]]:
    """Of 3 inputs and 4 hidden, for 3 sequences of 5 steps and for packed ones."""
    size = projected or 4
    first = normal(3, size), normal(3, 4)
    projection = None if projected is None else normal(projected, 4)
    rows: list[tuple[Any, ...]] = []
    for biases in [(normal(4 * gates), normal(4 * gates)), (None, None)]:
        weights = Weights(normal(4 * gates, 3), normal(4 * gates, size), *biases, projection)
        for reverse in (False, True):
            rows.append((normal(5, 3, 3), first[:states], weights, Order(reverse)))
            rows.append((normal(sum(SIZES), 3), first[:states], weights, Order(reverse, SIZES)))
    return rows


def backward(of: Callable[..., Any], given: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for arguments in given:
        result, all_given = of(*arguments), Given(*arguments)
        last = tuple(normal(*state.shape) for state in all_given.first)
        rows.append((normal(*result.output.shape), last, all_given, result))
        nothing = (None,) * (len(last) - 1)
        rows.append((None, (last[0], *nothing), all_given._replace(input=None), result, Wanted(weights=False)))
    return rows


def _lstm() -> list[tuple[Any, ...]]:
    return layer(4, 2) + layer(4, 2, projected=2)


ARGUMENTS: Arguments = {
    "lstm": _lstm,
    "lstm_backward": lambda: backward(functional.lstm, _lstm()),
    "gru": lambda: layer(3),
    "gru_backward": lambda: backward(functional.gru, layer(3)),
    "rnn_tanh": lambda: layer(1),
    "rnn_tanh_backward": lambda: backward(functional.rnn_tanh, layer(1)),
    "rnn_relu": lambda: layer(1),
    "rnn_relu_backward": lambda: backward(functional.rnn_relu, layer(1)),
}
