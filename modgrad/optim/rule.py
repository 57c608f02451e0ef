"""RuleOptimizer: what all optimizers share that update each parameter by itself, by a rule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from types import NoneType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from modgrad.functional.kernel import running_formulas
from modgrad.graph.mode import mode
from modgrad.optim.many import blocks, number
from modgrad.optim.optimizer import ACCELERATED, NOTES, Group, Optimizer, State, active, assign

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
    elementwise: ClassVar[bool] = True  # whether each element of a parameter is updated by itself
    counted: ClassVar[bool] = True  # whether steps are counted in the state, by "step"
    optional: ClassVar[Mapping[str, str]] = {}  # state that is kept only where this hyper-parameter is not 0 or False
    nonnegative: ClassVar[tuple[str, ...]] = ("lr", "eps", "weight_decay")  # hyper-parameters from 0 up

    # Of the signature: what the rule keeps, in its order; of that, what is neither scalar nor optional, and scalars.
    _memory: ClassVar[tuple[str, ...]] = ()
    _always: ClassVar[tuple[str, ...]] = ()
    _numbers: ClassVar[tuple[str, ...]] = ()
    _replaced: ClassVar[tuple[str, ...]] = ()  # the scalars that the rule gives anew
    # The scalars in the state: "step" first, also if the rule does not ask for it.
    _counts: ClassVar[tuple[str, ...]] = ()
    # What it is told under a group's own name, and what a group may hold as part of another.
    _hyper: ClassVar[tuple[str, ...]] = ()
    _parts: ClassVar[tuple[str, ...]] = ()
    _read: ClassVar[tuple[str, ...]] = ()  # what may be in a tensor, and is to be read from it

    _made: Made | None = None  # inside `in_parts`: the scalars made so far, each with the one it takes the place of

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any] | None = None, **others: Any) -> None:
        self._told: dict[int, Told] = {}
        super().__init__(params, defaults, **others)

    def __init_subclass__(cls) -> None:
        if "rule" in cls.__dict__:
            parameters = inspect.signature(cls.rule).parameters.values()
            cls._memory = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)[2:]
            cls._always = tuple(n for n in cls._memory if n not in cls.scalars and n not in cls.optional)
            cls._numbers = tuple(name for name in cls._memory if name in cls.scalars)
            cls._replaced = tuple(name for name in cls._numbers if name != "step")
            cls._counts = ("step", *cls._replaced) if cls.counted else cls._replaced
            told = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
            cls._hyper = tuple(name for name in told if name not in _PARTS)
            cls._parts = tuple(name for name in told if name in _PARTS)
            cls._read = tuple(name for name in told if name == "lr" or name in _PARTS)

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

    def kept(self, group: Group) -> tuple[str, ...]:
        """The names of the tensors that are kept of each parameter of this group, apart from scalars."""
        kept = self._always
        for name, switch in self.optional.items():
            if active(group[switch]):
                kept = (*kept, name)
        return kept

    def hyper(self, group: Group) -> dict[str, Any]:
        """What the rule is told."""
        told = {name: group[name] for name in self._hyper}
        for name in self._parts:
            whole, position = _PARTS[name]
            told[name] = group[name] if name in group else group[whole][position]
        return told

    def told(self, group: Group) -> Told:
        """What an update in place is told by a group, remembered until an entry changes."""
        told = self._told.get(id(group))
        if told is not None and len(group) == told.entries and told.read(group) == told.values:
            return told
        hyper = self.hyper(group)
        for name in self._read:
            if isinstance(x := hyper[name], Tensor):
                hyper[name] = number(x) if name == "lr" else float(x)
        read = itemgetter(*[name for name in group if name not in NOTES])
        kept = self.kept(group)
        names = (*kept, *self._numbers)
        places = [names.index(name) if name in names else -1 for name in self._memory]
        told = Told(len(group), read, read(group), kept, places, hyper)
        if _unchanging(told.values):
            self._told[id(group)] = told
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
        by_rule = self.rule_ is None or running_formulas()
        told = None if by_rule else self.told(group)
        kept, counts = self.kept(group) if told is None else told.kept, self._counts
        try:
            columns = [[state[name] for state in states] for name in kept]
            scalars = [[state[name] for state in states] for name in counts]
        except KeyError:
            self._begin(params, states, {*kept, *counts}, group)
            columns = [[state[name] for state in states] for name in kept]
            scalars = [[state[name] for state in states] for name in counts]
        if not (by_rule or self.takes_sparse or in_order(params, grads, *columns)):
            by_rule = not lay(params, grads, states)
            columns = [[state[name] for state in states] for name in kept]
        shared = not self.counted or _count(states, scalars.pop(0), made)
        if by_rule or told is None:
            self._by_rule(params, grads, states, group, made)
            return
        lists = [params, grads, *columns]
        if shared and not ACCELERATED and all(map(_all_one, scalars)):  # on the CPU a list may hold all dtypes
            self._in_place(lists, states, told, made)
            return
        for some in _alike(params, states, self._numbers):
            columns = [[column[i] for i in some] for column in lists]
            self._in_place(columns, [states[i] for i in some], told, made)

    def _begin(self, params: list[Any], states: list[State], names: set[str], group: Group) -> None:
        """Make what parameters that are updated for the first time lack."""
        new = [i for i, state in enumerate(states) if not names <= state.keys()]
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

    def _in_place(self, lists: list[list[Any]], states: list[State], told: Told, made: Made) -> None:
        """Update all of one kind and count at once. lists: parameters, gradients, and what is kept of each."""
        numbers = [states[0][name] for name in self._numbers]
        results = None
        for params, grads, *columns in blocks(lists) if self.blocked else (lists,):
            memory = [*columns, *numbers, []]
            results = self.rule_(params, grads, *[memory[i] for i in told.places], **told.hyper)  # type: ignore[misc]
        if results is not None:
            for name, value in zip(self._replaced, results, strict=True):
                for state in states:
                    state[name] = _made_once(made, name, state[name], value)

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


class Told(NamedTuple):
    """What an update in place is told by a group; and how many entries that had, and, by `read`, which."""

    entries: int
    read: Callable[[Group], Any]
    values: Any
    kept: tuple[str, ...]
    places: list[int]  # of each of the rule's memories, among what is kept, the scalars, and an empty list
    hyper: dict[str, Any]


def _unchanging(value: Any) -> bool:
    """Whether a value can be replaced but not changed where it is, as a tensor and a list can."""
    return all(map(_unchanging, value)) if type(value) is tuple else isinstance(value, (int, float, str, NoneType))


_ONE = torch.ones((), dtype=torch.float32, device="cpu")


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
        if value is None:  # in an eager step a tensor is added in half the time of a number
            new = old + (1 if mode.tracing else _ONE)
        elif isinstance(value, Tensor):
            new = value.to(old.dtype)
        else:
            new = torch.tensor(value, dtype=old.dtype, device=old.device)
        pair = made[name, id(old)] = (old, new)
    return pair[1]


def in_order(params: list[Any], *alongside: list[Any]) -> bool:
    """Whether all of these lie in memory in the order of their dimensions, as kernels take for granted that go through
    memory without asking for strides."""
    return all(map(_is_contiguous, chain(params, *alongside)))


def lay(params: list[Any], grads: list[Tensor], states: list[State]) -> bool:
    """Lay gradients and states in memory as their parameters are. False if a parameter has gaps, as no other can."""
    if not all(map(_is_dense, params)):
        return False
    for i, (param, state) in enumerate(zip(params, states, strict=True)):
        grads[i] = laid_as(param, grads[i])
        state.update({name: laid_as(param, value) for name, value in state.items() if isinstance(value, Tensor)})
    return True


_is_contiguous = Tensor.is_contiguous
_is_dense = torch.ops.aten.is_non_overlapping_and_dense.default


def laid_as(param: Tensor, value: Tensor) -> Tensor:
    """`value`, in memory as the parameter is, if it is of its shape."""
    if value.shape != param.shape or value.stride() == param.stride():
        return value
    return torch.empty_like(param, dtype=value.dtype).copy_(value)


def _on_device(value: Any, parameter: Tensor) -> Tensor:
    return value.to(parameter.device) if isinstance(value, Tensor) else scalar(parameter, float(value))


def _count(states: list[State], steps: list[Tensor], made: Made) -> bool:
    """One more step for each: a new count for all that share one. Gives whether all share one."""
    first = steps[0]
    new = _made_once(made, "step", first, None)
    shared = True
    for state, old in zip(states, steps, strict=True):
        if old is first:
            state["step"] = new
        else:
            state["step"], shared = _made_once(made, "step", old, None), False
    return shared


def _all_one(column: list[Any]) -> bool:
    first = column[0]
    return all([value is first for value in column])  # noqa: C419 (half the time of a generator)


def _alike(params: list[Any], states: list[State], scalars: tuple[str, ...]) -> Iterable[Sequence[int]]:
    """The positions of the parameters that are of one device and dtype, and share their scalars."""
    kinds: dict[Any, list[int]] = {}
    for i in range(len(params)):
        param, numbers = params[i], [id(states[i][name]) for name in scalars]
        kinds.setdefault((param.device, param.dtype, *numbers), []).append(i)
    return kinds.values()
