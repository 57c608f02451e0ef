"""The switches that recording looks at, one set for each thread, and the contexts that turn them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Mode(threading.local):
    recording: bool = True  # False inside `no_grad`
    keeping: bool = False  # True inside `keep_values`
    tracing: bool = False  # True while a step is traced: records hang on the tensors themselves
    composing: int = 0  # how many composite modules' forwards are running
    computing: bool = False  # True inside a primitive's forward or backward (read while tracing only)


mode = _Mode()


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside, nothing is recorded: modules and operators give plain tensors, as in evaluation."""
    before, mode.recording = mode.recording, False
    try:
        yield
    finally:
        mode.recording = before


@contextmanager
def keep_values() -> Iterator[None]:
    """Calls made inside keep every input and output, and the walk does not free them.

    For viewing and for teaching: afterwards each intermediate Variable has its value and its `grad_v`,
    reached through `previous_inputs`, and `backward` may run again. It costs the memory of every value.
    """
    before, mode.keeping = mode.keeping, True
    try:
        yield
    finally:
        mode.keeping = before
