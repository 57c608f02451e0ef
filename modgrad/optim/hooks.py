"""What users hang on to an optimizer, to be called around its steps and its saving."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch.utils.hooks import RemovableHandle

Hooks = OrderedDict[int, Callable[..., Any]]
_KINDS = ("step_pre", "step_post", "state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post")


class Hooked:
    """The registers of hooks, each by PyTorch's name. Every one gives a handle whose remove() takes the hook off."""

    def __init__(self) -> None:
        self._hooks: dict[str, Hooks] = {kind: OrderedDict() for kind in _KINDS}

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """hook(optimizer, args, kwargs), before each step; may give (args, kwargs) for the step to be called with."""
        return self._registered("step_pre", hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """hook(optimizer, args, kwargs), after each step."""
        return self._registered("step_post", hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """hook(optimizer), before `state_dict`."""
        return self._registered("state_dict_pre", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """hook(optimizer, state_dict), after `state_dict`; may give another one."""
        return self._registered("state_dict_post", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """hook(optimizer, state_dict), before `load_state_dict`; may give another one to load."""
        return self._registered("load_state_dict_pre", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """hook(optimizer), after `load_state_dict`."""
        return self._registered("load_state_dict_post", hook, prepend)

    def _registered(self, kind: str, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        hooks = self._hooks[kind]
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def _call_hooks(self, kind: str, *given: Any) -> None:
        for hook in self._hooks[kind].values():
            hook(self, *given)

    def _changed_by_hooks(self, kind: str, value: Any) -> Any:
        """What the hooks make of a value, which each may replace."""
        for hook in self._hooks[kind].values():
            changed = hook(self, value)
            value = value if changed is None else changed
        return value

    def _called(self, step: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """`step` with the hooks around it."""
        kwargs: dict[str, Any] = {}
        for hook in self._hooks["step_pre"].values():
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        f"a hook before {type(self).__name__}.step gave {changed!r}: expected None, or (args, kwargs)"
                    )
                args, kwargs = changed
        result = step(*args, **kwargs)
        self._call_hooks("step_post", args, kwargs)
        return result

    def __getstate__(self) -> dict[str, Any]:
        """Hooks stay with the optimizer that they were given to: a copy, or one saved, has none."""
        return {**self.__dict__, "_hooks": {kind: OrderedDict() for kind in _KINDS}}

    @property
    def has_step_hooks(self) -> bool:
        return bool(self._hooks["step_pre"] or self._hooks["step_post"])
