"""Forward hooks: functions that run before or after a module is called, and see or change what goes in and comes out.

A module without hooks pays nothing for them: until the first one is registered, a call looks at an empty list.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modgrad.graph.mode import mode

if TYPE_CHECKING:
    from modgrad.graph.module import Module

Hook = Callable[..., Any]
Entry = tuple[int, Hook, bool]  # number, the hook, whether it is given arguments by name too

THERE: list[bool] = []  # not empty once any module has had a hook
_next_number = itertools.count().__next__


class Hooks:
    """Those of one module, in the order that they run in."""

    def __init__(self, before: list[Entry] | None = None, after: list[Entry] | None = None) -> None:
        self.before, self.after = before or [], after or []
        if not THERE:
            THERE.append(True)

    def __reduce__(self) -> Any:  # so that a copy in another process says that it is there
        return Hooks, (self.before, self.after)


class RemovableHandle:
    """What registering a hook gives: `remove()` takes the hook away; as a context it does so at the end."""

    def __init__(self, entries: list[Entry], entry: Entry) -> None:
        self._entries, self._entry = entries, entry

    def remove(self) -> None:
        """Take the hook away, if it is still there."""
        if self._entry in self._entries:
            self._entries.remove(self._entry)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: Any) -> None:
        self.remove()


def register(entries: list[Entry], hook: Hook, prepend: bool, with_kwargs: bool) -> RemovableHandle:
    entry = _next_number(), hook, with_kwargs
    entries.insert(0 if prepend else len(entries), entry)
    return RemovableHandle(entries, entry)


def due(module: Module) -> bool:
    """Whether a call of `module` that begins now is to go through `call`. Asked if there are hooks anywhere."""
    if module._hooks is None:
        return False
    if mode.entering is module:  # it is `call` that asks
        mode.entering = None
        return False
    return True


def begun(module: Module) -> None:
    """Say that a call of `module` is under way, before a `__call__` goes on to that of its base class."""
    if module._hooks is not None:
        mode.entering = module


def call(module: Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Call `module` with its hooks around it."""
    hooks: Any = module._hooks
    for _, hook, with_kwargs in list(hooks.before):
        given = hook(module, inputs, named) if with_kwargs else hook(module, inputs)
        if given is None:
            continue
        if not with_kwargs:
            inputs = given if isinstance(given, tuple) else (given,)
        elif isinstance(given, tuple) and len(given) == 2:
            inputs, named = given
        else:
            raise TypeError(
                f"a forward pre-hook of {module}, registered with_kwargs, gave back {type(given).__name__}: expected "
                "None, or the pair (inputs, named inputs)"
            )
    mode.entering = module
    try:
        output = module(*inputs, **named)
    finally:
        mode.entering = None
    for _, hook, with_kwargs in list(hooks.after):
        changed = hook(module, inputs, named, output) if with_kwargs else hook(module, inputs, output)
        output = output if changed is None else changed
    return output
