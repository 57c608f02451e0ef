"""What the caller gives, as the arrays that a graph takes. Nothing is rounded in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modgrad.export.manifest import Named, Number, Port

__all__ = ["batch_of", "numbers_of", "value_of"]

Array = np.ndarray[Any, np.dtype[Any]]


def batch_of(ports: Sequence[Port], given: Sequence[Any], call: str) -> tuple[dict[str, Array], dict[str, int]]:
    """The batch by the names of the graph's inputs, contiguous; and the sizes of the free dimensions.

    call: for messages, as "step". Integers are taken in any integer dtype, as long as every value fits; floats of more
    bits are not rounded but refused, unless they come as Python's numbers.   Raises TypeError and ValueError, naming
    the input.
    """
    if len(given) != len(ports):
        wanted = ", ".join(map(str, ports))
        hint = ". A learning rate is given by name: lr=0.1" if call == "step" and len(given) > len(ports) else ""
        raise TypeError(f"{call} was given {len(given)} arrays, expected {len(ports)}: {wanted}{hint}")
    free: dict[str, tuple[int, str]] = {}  # a free dimension -> its size, and the input that it was first met at
    found = {}
    for port, value in zip(ports, given, strict=True):
        array = _array(value, port.dtype, f"{call}: {port.name}")
        _check_shape(array, port, free, f"{call}: {port.name}")
        found[port.name] = array
    return found, {dimension: size for dimension, (size, _) in free.items()}


def numbers_of(numbers: Sequence[Number], lr: Any, steps: int | None) -> dict[str, Array]:
    """The numbers by the names of the graph's inputs: those at export, and `lr` for the learning rates if it is given.

    lr: a number; where the optimizer has several groups, one for each, as a sequence or by their names. steps: how many
    steps the call takes; each of lr may then have so many numbers, one for each step.
    """
    if lr is None:
        given: dict[str, Any] = {}
    elif isinstance(lr, Mapping):
        given = dict(lr)
    elif len(numbers) == 1:
        given = {numbers[0].label: lr}
    else:
        rates = list(lr) if isinstance(lr, Sequence) or np.ndim(lr) else [lr]
        if len(rates) != len(numbers):
            labels = ", ".join(number.label for number in numbers)
            raise ValueError(f"lr={lr!r}: the optimizer has {len(numbers)} groups ({labels}): give one for each")
        given = {number.label: rate for number, rate in zip(numbers, rates, strict=True)}
    unknown = given.keys() - {number.label for number in numbers}
    if unknown:
        raise ValueError(f"lr: there is no {sorted(unknown)[0]!r}, only {', '.join(n.label for n in numbers)}")
    return {number.name: _rate(number, given.get(number.label, number.value), steps) for number in numbers}


def _rate(number: Number, value: Any, steps: int | None) -> Array:
    try:
        array = np.asarray(value, number.dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{number.label}={value!r}: expected a number") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{number.label}={value!r}: expected a finite number")
    shape = () if steps is None else (steps,)
    if array.ndim and array.shape != shape:
        each = "a number" if steps is None else f"a number, or one for each of the {steps} steps"
        raise ValueError(f"{number.label} has shape {array.shape}: expected {each}")
    return np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(shape)


def value_of(named: Named, value: Any, where: str) -> Array:
    """A tensor of the state. Of a narrower dtype it is widened; of one that does not fit it is refused."""
    array = _read(value, f"{where}: {named.name!r}")
    if array.shape != named.shape:
        raise ValueError(f"{where}: {named.name!r} has shape {array.shape}, in the step {named.shape}")
    if not np.can_cast(array.dtype, named.dtype, "safe"):
        raise TypeError(
            f"{where}: {named.name!r} is {array.dtype}, in the step {named.dtype}, which does not hold all of its "
            f"values. If rounding is meant, convert it first: array.astype({named.dtype.name!r})"
        )
    return array.astype(named.dtype)


def _array(value: Any, dtype: np.dtype[Any], where: str) -> Array:
    """`value` as a contiguous array of `dtype`, with the values that it has."""
    plain = isinstance(value, (int, float, list, tuple))  # numbers of Python's, which are of no dtype yet
    array = _read(value, where)
    if array.dtype != dtype:
        _check_cast(array, dtype, plain, where)
        array = array.astype(dtype)
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _read(value: Any, where: str) -> Array:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{where}: {type(value).__name__} is no array: {error}") from error
    if array.dtype == object:
        raise TypeError(f"{where}: {type(value).__name__} is no array of numbers")
    return array


def _check_cast(array: Array, dtype: np.dtype[Any], plain: bool, where: str) -> None:
    if array.dtype.kind in "iub" and dtype.kind in "iu" and array.dtype != bool:
        limits = np.iinfo(dtype)
        if array.size and not limits.min <= int(array.min()) <= int(array.max()) <= limits.max:
            raise ValueError(f"{where} has a value outside of {limits.min} to {limits.max}, the range of {dtype}")
        return
    rounded = plain and array.dtype.kind in "iuf" and dtype.kind == "f"
    if not rounded and not np.can_cast(array.dtype, dtype, "safe"):
        raise TypeError(
            f"{where} is {array.dtype}, expected {dtype}. Write array.astype({dtype.name!r}) if that is meant"
        )


def _check_shape(array: Array, port: Port, free: dict[str, tuple[int, str]], where: str) -> None:
    fits = array.ndim == len(port.shape) and all(
        wanted == size for wanted, size in zip(port.shape, array.shape, strict=True) if isinstance(wanted, int)
    )
    if not fits:
        raise ValueError(f"{where} has shape {array.shape}, expected {port.form}")
    for wanted, size in zip(port.shape, array.shape, strict=True):
        if isinstance(wanted, str):
            before, other = free.setdefault(wanted, (size, port.name))
            if size != before:
                raise ValueError(f"{where} has shape {array.shape}, so {wanted} is {size}; by {other} it is {before}")
            if not size:
                raise ValueError(f"{where} has shape {array.shape}: {wanted} is 0, and there is nothing to compute")
