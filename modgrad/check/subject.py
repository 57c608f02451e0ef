"""Subject: a module called on given inputs, in float64, to be asked for its outputs and its stated derivatives.

It can be asked again and again, with any input or parameter moved: state and random numbers are the same each time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modgrad.check.differences import Line, scales_of
from modgrad.check.state import State, reseed
from modgrad.check.structure import input_leaves, leaves, rebuilt
from modgrad.graph import Module, Parameter, Primitive, Variable, no_grad


class Fault(Exception):  # noqa: N818  a finding, not an error of the check
    """A derivative that cannot be compared, because stating it failed; the message says how."""


class Target(NamedTuple):
    """What is moved: an input (place: its number among the leaves) or a parameter."""

    name: str
    tensor: Tensor  # plain; the subject's own copy of the input, or the parameter's memory
    place: int  # -1 for a parameter
    parameter: Parameter | None


class Weighted(Primitive):
    """L = sum of g y over every output y: each output's upstream gradient is its g, a random one."""

    def __init__(self, upstream: Sequence[Tensor]) -> None:
        super().__init__()
        self.upstream = list(upstream)

    def forward(self, _: Any, *outputs: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=outputs[0].device)
        for g, y in zip(self.upstream, outputs, strict=True):
            total = total + (g * y).sum().to(total)
        return total

    def backward(self, _: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return tuple(g * grad.to(g.dtype) for g in self.upstream)


def double_copy(module: Module) -> Module:
    """A deep copy whose floating-point tensors are float64 and whose parameters are all to be trained."""
    own = copy.deepcopy(module).double().unfreeze()
    for part in own.modules():
        for name, value in list(part.__dict__.items()):  # constants that are not registered as buffers
            if type(value) is Tensor and value.is_floating_point():
                part.__dict__[name] = value.double()
    return own


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def own_copy(value: Any) -> Any:
    """A plain copy of a tensor, float64 if it is floating-point; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach()
    return value.double().clone() if value.is_floating_point() else value.clone()


def _gradient(target: Target, variables: dict[int, Variable]) -> Tensor:
    """What a walk left for `target`; zeros where it left nothing."""
    gradient = variables[target.place].grad_v if target.parameter is None else target.parameter.grad_v
    return torch.zeros_like(target.tensor) if gradient is None else gradient.detach().clone()


class Subject:
    """module: in float64. args, named: what its forward is given. wanted: which of their leaves get a gradient.

    epsilon: of the least precise dtype that it is known to compute in.
    """

    def __init__(
        self, module: Module, args: Sequence[Any], named: dict[str, Any], wanted: Callable[[str], bool], seed: int
    ) -> None:
        self.module, self.seed = module, seed
        self._given = tuple(args), named
        found = input_leaves(args, named)
        self._leaves = [own_copy(value) for _, value in found]
        self.targets = [
            Target(name, self._leaves[place], place, None)
            for place, (name, value) in enumerate(found)
            if _is_float(value) and wanted(name)
        ]
        self.targets += [Target(name, p.detach(), -1, p) for name, p in module.named_parameters()]
        self._generator = torch.Generator().manual_seed(seed)
        self._state = State(module)
        self._live: list[int] = []  # which leaves of the outputs are in the graph
        self.left_out: list[int] = []  # floating-point ones that are not
        self._upstream: list[Tensor] = []
        self._first = torch.zeros(0)  # the outputs as they were first
        self.epsilon = torch.finfo(torch.float64).eps

    def _call(self, placed: Callable[[int, Any], Any]) -> tuple[list[Any], list[Any]]:
        """Call the module on copies of the inputs, as `placed` gives them in; returns those and the output's leaves."""
        self._state.restore()
        reseed(self.seed)
        copies = [value.clone() if isinstance(value, Tensor) else value for value in self._leaves]
        args, named = rebuilt(self._given, iter([placed(i, value) for i, value in enumerate(copies)]))
        return copies, [value for _, value in leaves(self.module(*args, **named))]

    def args(self) -> tuple[Any, ...]:
        """The positional inputs, with fresh Variables where a gradient is wanted."""
        fresh = {t.place: Variable(t.tensor.clone()) for t in self.targets if t.parameter is None}
        args, _ = rebuilt(self._given, iter([fresh.get(i, value) for i, value in enumerate(self._leaves)]))
        return args

    def values(self) -> Tensor:
        """All outputs that are in the graph, one after another, in float64."""
        with no_grad():
            _, outputs = self._call(lambda _, value: value)
        return self._flat(outputs)

    def _flat(self, outputs: list[Any]) -> Tensor:
        flat = [outputs[i].detach().reshape(-1).double() for i in self._live if i < len(outputs)]
        return torch.cat([torch.zeros(0, dtype=torch.float64, device=flat[0].device), *flat])

    def refuse_unrepeatable(self) -> None:
        """Raise Fault unless the outputs are numbers, and the same again. After the first `stated`."""
        again = self.values()
        if bool(self._first.isnan().any()):
            raise Fault("an output is NaN at these inputs: there is no derivative to compare")
        if again.shape != self._first.shape or not torch.allclose(again, self._first, rtol=1e-6, atol=1e-9):
            raise Fault(
                "called twice on the same inputs it gives different outputs, so that differences say nothing: it keeps "
                "state other than in its attributes, or draws random numbers other than from torch's own generators"
            )

    @property
    def upstream(self) -> Tensor:
        """The upstream gradients that `stated` starts from, as `values` has the outputs."""
        return torch.cat([g.reshape(-1).double() for g in self._upstream])

    def stated(self, only: Target | None = None, output: int | None = None) -> list[Tensor]:
        """dL/d(each target), as backward states it; zeros where it gives None.

        only: ask for the gradient of this target alone, all others being plain or frozen.
        output: let a gradient come to this output alone (counted among those in the graph).
        """
        asked = [t for t in self.targets if only is None or t is only]
        variables = {t.place: Variable(t.tensor.clone()) for t in asked if t.parameter is None}
        for target in self.targets:
            if target.parameter is not None:
                target.parameter.grad_v, target.parameter.grad_f = None, target in asked
        try:
            copies, outputs = self._call(variables.get)
            self._refuse_changed_inputs(variables, copies)
            if not self._live:
                self._look_at(outputs)
                self._first = self._flat(outputs)
            self._walk(outputs, output)
            return [_gradient(target, variables) for target in asked]
        finally:
            for target in self.targets:
                if target.parameter is not None:
                    target.parameter.grad_v, target.parameter.grad_f = None, True

    def _refuse_changed_inputs(self, variables: dict[int, Variable], copies: list[Any]) -> None:
        for place, value in enumerate(copies):
            given = variables[place].detach() if place in variables else value
            before = self._leaves[place]
            if isinstance(given, Tensor) and given._version != 0 and not torch.equal(given, before):
                raise Fault("forward changes an input in place: compute on a copy of it")

    def _look_at(self, outputs: list[Any]) -> None:
        """See which outputs are in the graph, and choose what gradient comes to each: random, none near 0."""
        self._live = [i for i, y in enumerate(outputs) if isinstance(y, Variable)]
        self.left_out = [i for i, y in enumerate(outputs) if _is_float(y) and not isinstance(y, Variable)]
        if not self._live:
            raise Fault("no output is in the graph: it was made outside of it, or left it (.detach(), .data, no_grad)")
        for y in (outputs[i] for i in self._live):
            sizes = torch.rand(y.shape, generator=self._generator, dtype=torch.float64) + 0.5
            signs = torch.randint(0, 2, y.shape, generator=self._generator) * 2 - 1
            gradient = (sizes * signs).to(device=y.device, dtype=y.dtype)
            self._upstream.append(torch.where(torch.isfinite(y.detach()), gradient, 0.0))  # infinity has no slope
            self.epsilon = max(self.epsilon, torch.finfo(y.dtype).eps)

    def _walk(self, outputs: list[Any], output: int | None) -> None:
        chosen = [i for i in range(len(self._live)) if output in (None, i)]
        criterion = Weighted([self._upstream[i] for i in chosen])
        loss = criterion(*[outputs[self._live[i]] for i in chosen])
        if not isinstance(loss, Variable):
            return  # nothing that is asked for leads here
        try:
            loss.backward()
        except Exception as error:
            raise Fault(f"backward raises {type(error).__name__}: {error}") from error
        if isinstance(self.module, Primitive):
            for i in chosen:  # what lies in the output's grad_v is what backward was given
                left = getattr(outputs[self._live[i]], "grad_v", None)
                if left is not None and not torch.equal(left, self._upstream[i]):
                    raise Fault(f"backward changes the gradient that it is given, of output {i}, in place")

    def outputs_count(self) -> int:
        """How many outputs are in the graph."""
        return len(self._live)

    # Moving a target

    def element_line(self, target: Target, index: tuple[int, ...]) -> Line:
        """The line along one element."""
        tensor = target.tensor
        start = tensor[index].item()

        def at(t: float) -> tuple[float, Tensor]:
            tensor[index] = start + t
            try:
                return (start + t) - start, self.values()
            finally:
                tensor[index] = start

        return at

    def line(self, target: Target, direction: Tensor) -> Line:
        """The line along a direction in all elements at once."""
        start = target.tensor.clone()

        def at(t: float) -> tuple[float, Tensor]:
            target.tensor.copy_(start + t * direction)
            try:
                return t, self.values()
            finally:
                target.tensor.copy_(start)

        return at

    def random_like(self, tensor: Tensor) -> Tensor:
        """Standard normal numbers, the same in every run with this seed."""
        return torch.randn(tensor.shape, generator=self._generator, dtype=torch.float64).to(tensor.device)

    def random_places(self, count: int, of: int) -> list[int]:
        """`count` different numbers below `of`, in order; all of them if there are no more."""
        if of <= count:
            return list(range(of))
        return sorted(torch.randperm(of, generator=self._generator)[:count].tolist())

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Inside, every target is moved by about a thousandth of its scale, at random: off any kink that it is on."""
        before = [(target.tensor, target.tensor.clone()) for target in self.targets]
        try:
            for tensor, value in before:
                tensor.copy_(value + 1e-3 * scales_of(value) * self.random_like(value))
            yield
        finally:
            for tensor, value in before:
                tensor.copy_(value)
