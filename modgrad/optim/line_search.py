"""Searching a line for a point that is low and flat enough: the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

DECREASE, FLATNESS = 1e-4, 0.9  # c1 and c2 of the two conditions


class Point(NamedTuple):
    """A place on the line, t steps from its start: the loss, its gradient, and the slope along the line."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Point], start: Point, t: float, longest: float, tolerance: float, evaluations: int
) -> tuple[Point, int]:
    """A point with loss(t) <= loss(0) + c1 t slope(0) and |slope(t)| <= c2 |slope(0)|, and how many were evaluated.

    evaluate: gives the point at t. t: where to begin. longest: the largest component of the direction; a bracket whose
    length times it is below `tolerance` is narrow enough. evaluations: after how many beyond the first to give up, with
    the lowest point there is. Nocedal & Wright 2006, algorithms 3.5 and 3.6.
    """
    bracket, count = _bracketed(evaluate, start, t, evaluations)
    if len(bracket) == 1:
        return bracket[0], count + 1
    low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
    stalled = done = False
    while not done and count < evaluations:
        first, last = sorted((bracket[0].t, bracket[1].t))
        if (last - first) * longest < tolerance:
            break
        t = minimum_of_cubic(bracket[0], bracket[1], first, last)
        margin = 0.1 * (last - first)
        close = min(last - t, t - first) < margin  # to an end, so that the bracket would hardly shrink
        if close and (stalled or t >= last or t <= first):
            t = last - margin if abs(t - last) < abs(t - first) else first + margin
            close = False
        stalled = close
        point = evaluate(t)
        count += 1
        if _is_too_high(point, start) or point.loss >= bracket[low].loss:
            bracket[high] = point
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
        else:
            done = _is_flat(point, start)
            if not done and point.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = point
    return bracket[low], count + 1


def _bracketed(evaluate: Callable[[float], Point], start: Point, t: float, evaluations: int) -> tuple[list[Point], int]:
    """Two points with one that fulfils the conditions in between, or one that does; how many came after the first."""
    point, previous, count = evaluate(t), start, 0
    while count < evaluations:
        if _is_too_high(point, start) or (count > 1 and point.loss >= previous.loss):
            return [previous, point], count
        if _is_flat(point, start):
            return [point], count
        if point.slope >= 0:
            return [previous, point], count
        shortest, farthest = point.t + 0.01 * (point.t - previous.t), point.t * 10
        following = minimum_of_cubic(previous, point, shortest, farthest)
        previous, point = point, evaluate(following)
        count += 1
    return [start, point], count


def _is_flat(point: Point, start: Point) -> bool:
    return abs(point.slope) <= -FLATNESS * start.slope


def _is_too_high(point: Point, start: Point) -> bool:
    return point.loss > start.loss + DECREASE * point.t * start.slope


def minimum_of_cubic(a: Point, b: Point, shortest: float, farthest: float) -> float:
    """Where the cubic through two points, with their slopes, is lowest, within bounds; their middle where it is not.

    Nocedal & Wright 2006, equation 3.59.
    """
    if b.t < a.t:
        a, b = b, a
    try:
        d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
        square = d1 * d1 - a.slope * b.slope
        if square >= 0:
            d2 = math.sqrt(square)
            t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
            return min(max(t, shortest), farthest)
    except ZeroDivisionError:
        pass  # a line, or one point
    return (shortest + farthest) / 2
