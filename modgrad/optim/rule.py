"""RuleOptimizer: what all optimizers share that update each parameter by itself, by a rule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad.functional.kernel import running_formulas
from modgrad.graph.mode import mode
from modgrad.optim.many import blocks, number
from modgrad.optim.optimizer import ACCELERATED, Group, Optimizer, State, active, assign

_PARTS = {"beta1": ("betas", 0), "beta2": ("betas", 1)}  # hyper-parameters that a group holds as parts of another


class RuleOptimizer(Optimizer):
    """An optimizer by a rule, which states by its signature what it takes, keeps and gives:

        rule(param, grad, *memory, **hyper) -> (param, *memory)

    memory: the parameter's state by name; "step" among it, the number of this step from 1 up, is counted here and not
    given back. None stands where a group keeps no such state. hyper: the group's entries of these names. A rule is
    pure, and runs inside `formulas()` and in a traced program, where numbers are tensors.

    `rule_` is the same in place on many parameters of one kind and one count: lists in the place of tensors (an empty
    one where none is kept), but for `scalars`. It gives the new values of those scalars, other than "step".

    Scalars are equal for parameters that began together, and shared by them, so that they are computed once. They are
    replaced, never changed in place, so that a parameter that stands still keeps its own.
    """

    rule: ClassVar[Callable[..., Any]]
    rule_: ClassVar[Callable[..., Any] | None] = None
    blocked: ClassVar[bool] = True  # whether `rule_` goes over its lists several times
    counted: ClassVar[bool] = True  # whether steps are counted in the state, by "step"
    optional: ClassVar[Mapping[str, str]] = {}  # state that is kept only where this hyper-parameter is not 0 or False
    nonnegative: ClassVar[tuple[str, ...]] = ("lr", "eps", "weight_decay")  # hyper-parameters from 0 up

    _memory: ClassVar[tuple[str, ...]] = ()
    _hyper: ClassVar[tuple[str, ...]] = ()

    _made: Made | None = None  # inside `in_parts`: the scalars made so far, each with the one it takes the place of

    def __init_subclass__(cls) -> None:
        if "rule" in cls.__dict__:
            parameters = inspect.signature(cls.rule).parameters.values()
            cls._memory = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)[2:]
            cls._hyper = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    def _refuse(self, hyper: Mapping[str, Any]) -> None:
        kind = type(self).__name__
        lr = hyper["lr"]
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError(f"{kind}(lr=...): expected a number, or a tensor of one, got shape {tuple(lr.shape)}")
        for name in self.nonnegative:
            if name in hyper and not (isinstance(hyper[name], tuple) or hyper[name] >= 0):
                raise ValueError(f"{kind}({name}={hyper[name]}): expected a number from 0 up")
        if "betas" in hyper and not all(0 <= beta < 1 for beta in hyper["betas"]):
            raise ValueError(f"{kind}(betas={hyper['betas']}): expected two numbers from 0 to below 1")
        if hyper.get("differentiable"):
            raise ValueError(
                f"{kind}(differentiable=True) would record the update for autograd, which there is none of here. In a "
                f"traced step the update is a pure function: optim.{self.rule.__name__} is that function by itself"
            )
        if hyper.get("foreach") and hyper.get("fused"):
            raise ValueError(
                f"{kind}(foreach=True, fused=True): one update cannot be both. Leave both out: the fastest one runs "
                "anyway"
            )

    def kept(self, group: Group) -> list[str]:
        """The names of the state that parameters of this group have, apart from "step"."""
        return [
            name
            for name in self._memory
            if name != "step" and (name not in self.optional or active(group[self.optional[name]]))
        ]

    def hyper(self, group: Group) -> dict[str, Any]:
        """What the rule is told."""
        told = {}
        for name in self._hyper:
            if name in _PARTS and name not in group:
                whole, position = _PARTS[name]
                told[name] = group[whole][position]
            else:
                told[name] = group[name]
        return told

    def initial(self, param: Tensor, group: Group) -> State:
        state = {name: torch.zeros_like(param, memory_format=torch.preserve_format) for name in self.kept(group)}
        return {"step": scalar(param), **state} if self.counted else state

    def initials(self, params: list[Any], group: Group) -> list[State]:
        states = super().initials(params, group)
        made = {} if self._made is None else self._made
        for param, state in zip(params, states, strict=True):
            for name in self.scalars:
                if name in state:
                    first = state[name]
                    state[name] = made.setdefault((name, param.device, id(group)), (first, first))[1]
        return states

    @contextmanager
    def in_parts(self) -> Iterator[None]:
        self._made = {}
        try:
            yield
        finally:
            self._made = None

    def update(self, params: list[Any], grads: list[Tensor], states: list[State], group: Group) -> None:
        made = {} if self._made is None else self._made
        names = [*self.kept(group), "step"] if self.counted else self.kept(group)
        try:
            columns = {name: [state[name] for state in states] for name in names}
        except KeyError:
            self._begin(params, states, group, names)
            columns = {name: [state[name] for state in states] for name in names}
        if self.counted:
            columns["step"] = [_made_once(made, "step", step, None) for step in columns["step"]]
            for state, step in zip(states, columns["step"], strict=True):
                state["step"] = step
        if self.rule_ is None or running_formulas():
            self._by_rule(params, grads, states, group, made)
        else:
            self._in_place(params, grads, states, group, columns, made)

    def _begin(self, params: list[Any], states: list[State], group: Group, names: list[str]) -> None:
        """Make what parameters that are updated for the first time lack."""
        new = [i for i, state in enumerate(states) if any(name not in state for name in names)]
        for i, state in zip(new, self.initials([params[i] for i in new], group), strict=True):
            for name, value in state.items():
                states[i].setdefault(name, value)

    def _by_rule(self, params: list[Any], grads: list[Tensor], states: list[State], group: Group, made: Made) -> None:
        """Update one after the other, by the pure function."""
        hyper = self.hyper(group)
        given_back = [name for name in self._memory if name != "step"]
        for i, (param, grad, state) in enumerate(zip(params, grads, states, strict=True)):
            new, *memory = self.rule(param, grad, *map(state.get, self._memory), **hyper)
            for name, value in zip(given_back, memory, strict=True):
                old = state.get(name)
                if old is None or value is None:
                    continue
                if name in self.scalars:
                    state[name] = _made_once(made, name, old, value)
                elif mode.tracing:
                    state[name] = value.to(old.dtype)
                else:
                    old.copy_(value)
            assign(params, i, new.to(param.dtype))  # a number, where it is one, would become a double by a double lr

    def _in_place(
        self,
        params: list[Any],
        grads: list[Tensor],
        states: list[State],
        group: Group,
        columns: dict[str, list[Any]],
        made: Made,
    ) -> None:
        """Update all of one kind and count at once."""
        assert self.rule_ is not None
        hyper = {name: _number(name, x) if isinstance(x, Tensor) else x for name, x in self.hyper(group).items()}
        scalars = [name for name in self._memory if name in self.scalars]
        given_back = [name for name in scalars if name != "step"]
        for some in _alike(params, [columns[name] for name in scalars]):
            kept = [name for name in self._memory if name in columns and name not in scalars]
            lists = [params, grads, *map(columns.__getitem__, kept)]
            lists = [[column[i] for i in some] for column in lists]
            for mine, gradients, *memories in blocks(lists) if self.blocked else [lists]:
                memory: Any = dict(zip(kept, memories, strict=True))
                memory.update({name: columns[name][some[0]] for name in scalars})
                results = self.rule_(mine, gradients, *[memory.get(name, []) for name in self._memory], **hyper)
            for name, value in zip(given_back, results or (), strict=True):
                for i in some:
                    states[i][name] = _made_once(made, name, columns[name][i], value)

    def _share_scalars(self) -> None:
        for group in self.param_groups:
            shared: dict[Any, list[Tensor]] = {}
            for parameter in group["params"]:
                if state := self.state.get(parameter):
                    names = [name for name in self.scalars if name in state]
                    key = (parameter.device, *[float(state[name]) for name in names])
                    if key not in shared:
                        shared[key] = [_on_device(state[name], parameter) for name in names]
                    state.update(zip(names, shared[key], strict=True))


Made = dict[Any, tuple[Tensor, Tensor]]


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A constructor's arguments by name, of its locals(): the hyper-parameters."""
    return {name: value for name, value in arguments.items() if name not in ("self", "params", "__class__")}


def scalar(param: Tensor, value: float = 0.0) -> Tensor:
    """A number of a parameter's state, in single precision, or double if that is the default dtype."""
    dtype = torch.float64 if torch.get_default_dtype() is torch.float64 else torch.float32
    return torch.tensor(value, dtype=dtype, device=param.device)


def precise(step: Tensor | float) -> Tensor:
    """A count in double precision: at the first steps 1 - 0.999**step would have four digits in single."""
    return step.double() if isinstance(step, Tensor) else torch.tensor(float(step), dtype=torch.float64)


def descent(param: Tensor, grad: Tensor, weight_decay: Any, maximize: bool) -> Tensor:
    """grad + weight_decay param, with -grad to maximize"""
    grad = -grad if maximize else grad
    return grad + weight_decay * param if active(weight_decay) else grad


def _made_once(made: Made, name: str, old: Tensor, value: Any) -> Tensor:
    """What takes the place of a scalar, once for all that share the old one: `value`, or the count of one step more."""
    pair = made.get((name, id(old)))
    if pair is None:
        if value is None:
            new = old + 1
        elif isinstance(value, Tensor):
            new = value.to(old.dtype)
        else:
            new = torch.tensor(value, dtype=old.dtype, device=old.device)
        pair = made[name, id(old)] = (old, new)
    return pair[1]


def _number(name: str, x: Tensor) -> Any:
    return number(x) if name == "lr" else float(x)


def _on_device(value: Any, parameter: Tensor) -> Tensor:
    return value.to(parameter.device) if isinstance(value, Tensor) else scalar(parameter, float(value))


def _alike(params: list[Any], scalars: list[list[Tensor]]) -> list[Any]:
    """The positions of the parameters that are of one device and dtype, and share their scalars."""
    if not ACCELERATED and all(x is column[0] for column in scalars for x in column):
        return [range(len(params))]
    kinds: dict[Any, list[int]] = {}
    for i, param in enumerate(params):
        kinds.setdefault((param.device, param.dtype, *[id(column[i]) for column in scalars]), []).append(i)
    return list(kinds.values())
