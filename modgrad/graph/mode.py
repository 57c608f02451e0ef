"""The switches that recording looks at, one set for each thread, and the contexts that turn them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Mode(threading.local):
    recording: bool = True  # False inside `no_grad`
    keeping: bool = False  # True inside `keep_values`
    tracing: bool = False  # True while a step is traced: records hang on the tensors themselves
    autocast: Any = None  # the Region inside `autocast`; None where nothing is cast
    operations: tuple[str, ...] = ()  # those of PyTorch's functions that are being run, as autocast's lists name them
    ordinary: bool = True  # recording, and none of the other three: one question for every call of a primitive
    locate: Any = (
        None  # told by whoever traces: gives what stands for a module, in place of what is to run, and notes where
        # each operation came from
    )
    entering: Any = None  # the module that is called with its hooks around it, until the call has begun
    computing: bool = False  # True inside a primitive's forward or backward (told while tracing only)
    randomness: Any = None  # the Randomness that random primitives draw from; None for torch's own generator


mode = _Mode()


@contextmanager
def switched(**switches: Any) -> Iterator[None]:
    """Inside, `mode` has these switches."""
    before = {name: getattr(mode, name) for name in switches}
    _turn(switches)
    try:
        yield
    finally:
        _turn(before)


def _turn(switches: dict[str, Any]) -> None:
    for name, value in switches.items():
        setattr(mode, name, value)
    mode.ordinary = mode.recording and not mode.keeping and not mode.tracing and mode.autocast is None


def no_grad() -> Any:
    """Inside, nothing is recorded: modules and operators give plain tensors, as in evaluation. Also a decorator."""
    return switched(recording=False)


def keep_values() -> Any:
    """Calls made inside keep every input and output, and the walk does not free them.

    For viewing and for teaching: afterwards each intermediate Variable has its value and its `grad_v`,
    reached through `previous_inputs`, and `backward` may run again. It costs the memory of every value.
    """
    return switched(keeping=True)
