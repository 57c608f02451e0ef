"""Optimizer: the base class. It picks what is to be updated; a subclass says how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad.graph import Parameter
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode
from modgrad.optim.hooks import Hooked

Group = dict[str, Any]
State = dict[str, Any]
ACCELERATED = torch.accelerator.is_available()
_plainly = torch._C.DisableTorchFunctionSubclass
# What a group may hold beside hyper-parameters: the notes of schedulers, and the parameters' names.
NOTES = frozenset(
    {"initial_lr", "max_lr", "min_lr", "swa_lr", "base_momentum", "max_momentum", "params", "param_names"}
)


class Optimizer(Hooked):
    """Updates parameters whose grad_f is True and whose grad_v is not None.

    A subclass gives its hyper-parameters to this constructor and writes `update`:

    >>> from modgrad import nn, optim
    >>> class Descent(optim.Optimizer):
    ...     def __init__(self, params, lr=0.1):
    ...         super().__init__(params, lr=lr)
    ...
    ...     def update(self, params, grads, states, group):
    ...         for param, grad in zip(params, grads):
    ...             param -= group["lr"] * grad
    >>> weight = nn.Parameter([1.0])
    >>> (3 * weight).sum().backward()
    >>> Descent([weight]).step()
    >>> weight
    Parameter(tensor([0.7000]))

    params: parameters, or dicts {"params": parameters, "lr": ...} whose entries override the hyper-parameters. In place
        of a parameter may stand (name, parameter), as named_parameters() gives it: the group keeps "param_names".
    defaults, others: the hyper-parameters, as a dict or by name.
    """

    takes_sparse: ClassVar[bool] = False  # whether its gradients are sparse tensors
    scalars: ClassVar[tuple[str, ...]] = ("step",)  # state that is one number of its own dtype, not the parameter's
    structural: ClassVar[frozenset[str]] = frozenset()  # numbers that a traced program is made for, not given
    unfit: ClassVar[str] = ""  # why it cannot be in a TrainingStep, where that is so

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any] | None = None, **others: Any) -> None:
        super().__init__()
        self.defaults: dict[str, Any] = {**(defaults or {}), **others}
        self.state: dict[Parameter, State] = defaultdict(dict)
        self.param_groups: list[Group] = []
        if isinstance(params, Tensor):
            raise TypeError(f"{type(self).__name__}: params must be several, got {describe(params)}: write [parameter]")
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__} was given no parameters: write model.parameters()")
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    @property
    def others(self) -> dict[str, Any]:
        """The hyper-parameters that a group has unless it says otherwise."""
        return self.defaults

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add {"params": parameters} with hyper-parameters of its own."""
        kind, params = type(self).__name__, param_group["params"]
        if isinstance(params, set):
            raise TypeError(f"{kind}: params is a set, whose order changes between runs: write a list")
        params = [params] if isinstance(params, Tensor) else list(params)
        names = [p[0] for p in params if isinstance(p, tuple)]
        params = [p[1] if isinstance(p, tuple) else p for p in params]
        if len(names) not in (0, len(params)) or any(("param_names" in g) != bool(names) for g in self.param_groups):
            raise ValueError(f"{kind}: some parameters were given with names and others without: name all or none")
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for parameter in params:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"{kind} updates nn.Parameter, got {describe(parameter)}")
            if id(parameter) in known:
                raise ValueError(f"{kind}: a parameter appears twice, and would be updated twice a step")
            known.add(id(parameter))
        group = {**self.defaults, **param_group, "params": params, **({"param_names": names} if names else {})}
        self._refuse(group)
        self.param_groups.append(group)

    def _refuse(self, hyper: Mapping[str, Any]) -> None:
        """Raise where a hyper-parameter is outside of its range. For subclasses."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; or, if not `set_to_none`, fill them with zeros."""
        with _plainly():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if set_to_none:
                        parameter.grad = None
                    elif parameter.grad is not None:
                        parameter.grad = torch.zeros_like(parameter.grad)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update once. closure: computes the loss and the gradients anew, and its loss is returned."""
        if self._hooks["step_pre"] or self._hooks["step_post"]:
            return self._called(self._step, () if closure is None else (closure,))
        return self._step(closure)

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None if closure is None else closure()
        state, takes_sparse = self.state, self.takes_sparse
        with _plainly():
            for group in self.param_groups:
                params, grads, states = [], [], []
                for parameter in group["params"]:
                    grad = parameter.grad
                    if grad is not None and parameter.grad_f:
                        if grad.is_sparse is not takes_sparse:
                            self._refuse_layout(grad)
                        params.append(parameter)
                        grads.append(grad)
                        states.append(state[parameter])
                if params:
                    self.update(params, grads, states, group)
        return loss

    def _refuse_layout(self, grad: Tensor) -> None:
        kind = type(self).__name__
        if grad.is_sparse:
            raise RuntimeError(
                f"{kind} was given a sparse gradient of shape {tuple(grad.shape)}, which it does not take: write "
                "optim.SparseAdam, or grad.to_dense()"
            )
        raise RuntimeError(
            f"{kind} was given a dense gradient of shape {tuple(grad.shape)}, as all gradients are that modgrad "
            "computes. It is for sparse ones that you set yourself, as parameter.grad_v: write optim.Adam"
        )

    def update(self, params: list[Any], grads: list[Tensor], states: list[State], group: Group) -> None:
        """Change `params` in place. They act as plain tensors here. states: a dict for each, to keep what is needed."""
        raise RuntimeError(
            f"{type(self).__name__} does not say how to update: write def update(self, params, grads, states, group)"
        )

    def initial(self, param: Tensor, group: Group) -> State:
        """A parameter's state before its first update, in which that update changes nothing but the values.

        Whoever must know the state beforehand asks for it, as a traced program does; an optimizer that keeps state and
        leaves this out can be traced once it has taken a step.
        """
        return {}

    def initials(self, params: list[Any], group: Group) -> list[State]:
        """`initial` of several parameters, which begin together."""
        return [self.initial(param, group) for param in params]

    def in_parts(self) -> AbstractContextManager[None]:
        """Inside, several calls of `update`, each with some of the parameters, are one step."""
        return nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: state}, "param_groups": [...]}, parameters named by number, in PyTorch's format."""
        self._call_hooks("state_dict_pre")
        number = {id(p): i for i, p in enumerate(self._parameters())}
        groups = [
            {**{k: v for k, v in group.items() if k != "params"}, "params": [number[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state: dict[int, State] = {}
        seen: set[int] = set()
        for parameter, whole in self.state.items():
            if own := self._saved(whole):  # what parameters share here must not be shared by whoever takes it over
                state[number[id(parameter)]] = {k: v.clone() if id(v) in seen else v for k, v in own.items()}
                seen.update(id(v) for v in own.values() if isinstance(v, Tensor))
        return self._changed_by_hooks("state_dict_post", {"state": state, "param_groups": groups})

    def _saved(self, state: State) -> State:
        """A parameter's state as PyTorch keeps it."""
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over states and hyper-parameters. Everything is checked before anything is changed."""
        state_dict = self._changed_by_hooks("load_state_dict_pre", dict(state_dict))
        saved = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in self.param_groups]
        if [len(group["params"]) for group in saved] != sizes:
            raise ValueError(
                f"load_state_dict of {type(self).__name__}: its groups have {sizes} parameters, "
                f"the saved ones {[len(group['params']) for group in saved]}"
            )
        for group in saved:
            self._refuse({**self.defaults, **group})
        numbers = chain.from_iterable(group["params"] for group in saved)
        states: dict[Parameter, State] = defaultdict(dict)
        for number, parameter in zip(numbers, self._parameters(), strict=True):
            if number in state_dict["state"]:
                states[parameter] = _fitted(state_dict["state"][number], parameter, self.scalars)
        self.state = states
        for group, given in zip(self.param_groups, saved, strict=True):
            group.update({k: v for k, v in given.items() if k != "params"})
        self._share_scalars()
        self._call_hooks("load_state_dict_post")

    def _share_scalars(self) -> None:
        """Make equal counts one again, after they have been loaded: see `RuleOptimizer`."""

    def _parameters(self) -> Iterator[Parameter]:
        return chain.from_iterable(group["params"] for group in self.param_groups)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])


def _fitted(state: Mapping[str, Any], parameter: Parameter, scalars: tuple[str, ...]) -> State:
    """A copy of a parameter's saved state, on its device and in its dtype. The scalars keep theirs."""

    def fitted(value: Any, name: str = "") -> Any:
        if isinstance(value, Tensor):
            like_parameter = name not in scalars and value.is_floating_point()
            return value.to(parameter.device, parameter.dtype, copy=True) if like_parameter else value.clone()
        return [fitted(each) for each in value] if isinstance(value, (list, tuple)) else value

    with _plainly():
        return {name: fitted(value, name) for name, value in state.items()}


def active(hyper: Any) -> bool:
    """Whether a hyper-parameter has an effect. One that is an input of a traced program is a tensor, and has."""
    return isinstance(hyper, Tensor) or bool(hyper)


def assign(params: list[Any], position: int, value: Tensor) -> None:
    """Give a parameter its new value: in place, but for a traced program, in which nothing changes in place."""
    if mode.tracing:
        params[position] = value
    else:
        params[position].copy_(value)


def same_kind(params: list[Tensor], *alongside: list[Any]) -> Iterable[tuple[list[Any], ...]]:
    """The parameters of each device and dtype, with what belongs to them: a fused kernel takes one kind at a time."""
    if not ACCELERATED:  # on the CPU the fused kernels go from tensor to tensor, and take all kinds together
        return ((params, *alongside),)
    kinds: dict[tuple[torch.device, torch.dtype], tuple[list[Any], ...]] = {}
    for row in zip(params, *alongside, strict=True):
        columns = kinds.setdefault((row[0].device, row[0].dtype), tuple([] for _ in row))
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return kinds.values()
