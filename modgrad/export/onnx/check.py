"""The check that every export goes through: the graph in onnxruntime against the step itself.

Several steps are taken, each by both from the same state: on the batch as given, on its first sample alone repeated,
and on inputs that are all zero, so that there are gradients of exactly zero, from dead units and unused rows; and where
the batch size is free, on one sample alone and on one more than were given. Compared are

- loss, gradients and buffers, with those of the step in float64: the graph may be farther from these than the eager
  step in its own dtype is, by kernels or by formulas, but not by a factor of more than `FACTOR`. A gradient that is
  zero but for rounding is measured by the largest one: more coarsely where the data has no variance, by which batch
  normalization would divide;
- parameters and the optimizer's state after the update, with what the optimizer's own kernels make of the *graph's*
  gradients, to a few roundings. So what an optimizer makes of rounding noise does not matter: a convolution's bias
  before batch normalization has a gradient of zero that comes out as noise, of which Adam makes steps of the learning
  rate's size, in any direction.

A gradient that does not fit is compared again with the parameters changed by a thousandth: where a unit was at a kink,
the two may have fallen to its two sides.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad.export.onnx import eager
from modgrad.export.onnx.errors import ExportError
from modgrad.export.onnx.exported import GRADIENT
from modgrad.export.onnx.session import Session
from modgrad.functional.kernel import formulas
from modgrad.graph.errors import describe

if TYPE_CHECKING:
    from modgrad.export.onnx.exported import Exported
    from modgrad.step.training import TrainingStep

FACTOR = 64  # how many times farther from the exact gradient than the eager step, in parts of which sums may differ
ROUNDING = 4  # of the largest gradient, that may be in any
ROUNDINGS = 64  # of an update
_AGAIN = 3  # times that the parameters are changed, where a gradient did not fit


def check(step: TrainingStep, batch: Any, exported: Exported) -> None:
    """Raise ExportError unless the graphs do what the step does. step: may be changed."""
    checking = _Check(step, exported)
    for kind, data in batches(batch).items():
        for number in range(2):
            checking.one(data, f"step {number + 1} on {kind}", ROUNDING if data is batch else FACTOR)
    checking.prediction(batch, "evaluation mode")
    for size, data in exported.resized(batch).items():
        checking.another_size(size, data)
    checking.finished(batch)


def batches(batch: Any) -> dict[str, Any]:
    """The batch, and what is made of it to have gradients of zero in it."""
    *inputs, target = batch

    def first(x: Tensor) -> Tensor:
        return x[:1].expand(x.shape).contiguous() if x.dim() else x

    def nothing(x: Tensor) -> Tensor:
        return torch.zeros_like(x) if x.is_floating_point() else first(x)

    repeated = pytree.tree_map(first, target)
    return {
        "the batch as given": batch,
        "its first sample repeated": (*pytree.tree_map(first, inputs), repeated),
        "inputs of zero": (*pytree.tree_map(nothing, inputs), repeated),
    }


class _Check:
    def __init__(self, step: TrainingStep, exported: Exported) -> None:
        self.step, self.exported = step, exported
        self.session = Session(exported.checked, "step")
        self.predicting = Session(exported.predicting, "graph for prediction")
        self.precise = eager.double(step)
        self.updating = copy.deepcopy(step)
        self.seed, self.count = step.randomness, 0
        self.sums: dict[str, Tensor] = {}
        self.taken = 0  # steps

    def one(self, batch: Any, where: str, floor: int) -> None:
        """Take one step, and compare all that comes of it. floor: how many roundings of the largest gradient may be
        in any."""
        start = eager.values(self.step)
        for attempt in range(_AGAIN + 1):
            before = start if not attempt else self._moved(start, attempt)
            eager.put(self.step, before)
            graph = self._run(before, batch)
            found = self._results(before, batch)
            problem = self._compare(*found, graph, where, floor)
            if problem is None:
                break
        else:
            raise ExportError(problem)
        self._compare_update(before, graph, where)
        self._go_on(before, found[0], graph)

    def another_size(self, size: int, batch: Any) -> None:
        """Take a step, and predict, and compare, but for what the step itself refuses, as batch normalization one
        sample."""
        where = f"a batch of {size}"
        try:
            if self._runs(lambda: eager.results(self.step, batch, self.seed)):
                self.one(batch, where, FACTOR)
            if self._runs(lambda: eager.predictions(self.step, batch[:-1])):
                self.prediction(batch, f"evaluation mode with {where}")
        except ExportError as error:
            raise ExportError(
                f"{error}. Or the model does something else for a batch of {size} than for others, as x.squeeze() does "
                "for one of 1: say which dimension is meant, x.squeeze(1)"
            ) from error

    def _runs(self, function: Callable[[], Any]) -> bool:
        """Whether it raises nothing. The step is as before afterwards."""
        before = eager.values(self.step)
        try:
            function()
        except Exception:
            return False
        finally:
            eager.put(self.step, before)
        return True

    def _moved(self, values: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        parameters = self.step.parameters()
        return {
            name: x * (1 + 1e-3 * torch.randn(x.shape, generator=generator, dtype=torch.float64)).to(x.dtype)
            if name in parameters and x.is_floating_point()
            else x
            for name, x in values.items()
        }

    # The three runs

    def _run(self, values: dict[str, Tensor], batch: Any) -> dict[str, Tensor]:
        given = self.exported.packed({**values, **self._rest()})
        result = self.session({**given, **self._numbers(), **self.exported.named_batch(batch)})
        return {**self.exported.unpacked(given, result), **self.exported.others(result)}

    def _rest(self) -> dict[str, Tensor]:
        """The state that neither model nor optimizer hold."""
        rest = {} if self.seed is None else {"seed": self.seed}
        if self.step.accumulate > 1:
            rest["count"] = torch.tensor(self.count)
            rest |= {f"gradient.{name}": self._sum(name, p) for name, p in self.step.parameters().items()}
        return rest

    def _sum(self, name: str, like: Any) -> Tensor:
        with torch._C.DisableTorchFunctionSubclass():
            return self.sums.get(name, torch.zeros_like(like).detach())

    def _numbers(self) -> dict[str, Tensor]:
        """Learning rates, another one at each step, and none of 0: a schedule may begin there, and no update shows."""
        rates = {name: (value or 1e-3) * 0.75**self.taken for name, value in self.exported.numbers.items()}
        return {name: torch.tensor(rate, dtype=torch.float64) for name, rate in rates.items()}

    def _results(self, before: dict[str, Tensor], batch: Any) -> tuple[eager.Result, eager.Result, eager.Result]:
        """By kernels, by formulas, in float64."""
        own = eager.results(self.step, batch, self.seed)
        eager.put(self.step, before)
        with formulas():
            other = eager.results(self.step, batch, self.seed)
        eager.put(self.precise, before)
        return own, other, eager.results(self.precise, eager.in_double(batch), self.seed)

    # The comparisons

    def _compare(
        self,
        own: eager.Result,
        other: eager.Result,
        exact: eager.Result,
        graph: dict[str, Tensor],
        where: str,
        floor: int,
    ) -> str | None:
        """What of loss, gradients and buffers does not fit, in words."""
        largest = max((_largest(g) for g in exact.gradients.values()), default=0.0)
        mine, formulas_, precise = own.named(), other.named(), exact.named()
        for name, value in mine.items():
            noise = _distance(formulas_[name], precise[name])
            scale = floor * largest if name.startswith(GRADIENT) else 0.0
            if not _near(graph[name], value, precise[name], noise, scale):
                return self._said(name, value, graph[name], where)
        return None

    def _compare_update(self, before: dict[str, Tensor], graph: dict[str, Tensor], where: str) -> None:
        step = self.updating
        eager.put(step, before)
        for label, number in self._numbers().items():
            position = int(label.partition(".")[0]) if "." in label else 0
            step.optimizer.param_groups[position]["lr"] = float(number)
        gradients = {name.removeprefix("grad."): g for name, g in graph.items() if name.startswith("grad.")}
        if self.step.accumulate > 1:
            parameters = self.step.parameters()
            gradients = {name: self._sum(name, parameters[name]) + g for name, g in gradients.items()}
        due = self.count + 1 == self.step.accumulate
        expected = eager.update(step, gradients) if due else before
        for name, new in expected.items():
            if name in graph and name in before:
                self._compare_new(name, before[name], new, graph[name], where)
        if self.step.accumulate > 1:
            for name, total in gradients.items():
                kept = torch.zeros_like(total) if due else total
                self._compare_new(f"gradient.{name}", total, kept, graph[f"gradient.{name}"], where)
            self._exact("count", torch.tensor(0 if due else self.count + 1), graph["count"], where)
            self.sums = {} if due else gradients
        if self.seed is not None:
            self._exact("seed", torch.stack([self.seed[0], self.seed[1] + 1]), graph["seed"], where)

    def _compare_new(self, name: str, before: Tensor, new: Tensor, found: Tensor, where: str) -> None:
        if not new.is_floating_point():
            self._exact(name, new, found, where)
            return
        if name in self.step_buffers():
            return
        size = torch.maximum(before.abs(), new.abs()).double()
        limits = torch.finfo(new.dtype)
        allowed = ROUNDINGS * limits.eps * size + limits.tiny
        close = (found.double() - new.double()).abs() <= allowed
        if not bool((close | (found == new) | (found.isnan() & new.isnan())).all()):
            raise ExportError(self._said(name, new, found, where))

    def step_buffers(self) -> set[str]:
        return {place.name for place in self.step.places() if place.kind == "buffers"}

    def _exact(self, name: str, expected: Tensor, found: Tensor, where: str) -> None:
        if not torch.equal(expected, found):
            raise ExportError(self._said(name, expected, found, where))

    def _said(self, name: str, expected: Tensor, found: Tensor, where: str) -> str:
        if found.shape == expected.shape and found.dtype == expected.dtype:
            how = f"by {_distance(found, expected):.3g} with values up to {_largest(expected):.3g}"
        else:
            how = f"being {describe(found)} where it is {describe(expected)}"
        return (
            f"the exported graph does not do what the step does: {self._named(name)} differs in {where}, {how}. "
            "Nothing was written. This is a fault of modgrad or of onnxruntime: please report it, with the module"
        )

    def _named(self, name: str) -> str:
        """The name, with the module that it belongs to."""
        bare = name.removeprefix("grad.").removeprefix("gradient.")
        for path, module in (*self.step.model.named_modules(), *self.step.criterion.named_modules(prefix="criterion")):
            own = {*module._parameter_names, *module._buffer_names}
            prefix = f"{path}." if path else ""
            if any(bare == prefix + key or bare.startswith(f"{prefix}{key}.") for key in own):
                return f"{name!r}, of {type(module).__name__}{f' {path!r}' if path else ''},"
        return repr(name)

    def _go_on(self, before: dict[str, Tensor], own: eager.Result, graph: dict[str, Tensor]) -> None:
        """To where the graph has got."""
        eager.put(self.step, {name: graph.get(name, value) for name, value in before.items()})
        self.taken += 1
        self.count = (self.count + 1) % self.step.accumulate
        if self.seed is not None:
            self.seed = torch.stack([self.seed[0], self.seed[1] + 1])

    # The other graphs

    def prediction(self, batch: Any, where: str) -> None:
        """Compare the graph for prediction, by the same measure."""
        session, values = self.predicting, eager.values(self.step)
        eager.put(self.precise, values)
        inputs = batch[:-1]
        given = {**self.exported.packed({**values, **self._rest()}), **self.exported.named_batch(batch)}
        found = session({name: given[name] for name in session.inputs})
        precise = eager.predictions(self.precise, eager.in_double(inputs))
        for name, own, exact in zip(found, eager.predictions(self.step, inputs), precise, strict=True):
            if not _near(found[name], own, exact):
                raise ExportError(self._said(name, own, found[name], where))

    def finished(self, batch: Any) -> None:
        """Compare the file that is handed over, which may loop, with the graph that was checked."""
        values = {**eager.values(self.step), **self._rest()}
        given = self.exported.packed(values)
        stacks = list(batches(batch).values())[:2] if self.exported.scans else [batch]
        data = [self.exported.named_batch(each) for each in stacks]
        numbers = [{n: x * 0.9**i for n, x in self._numbers().items()} for i in range(len(data))]
        state, losses = dict(given), []
        for each, number in zip(data, numbers, strict=True):
            result = self.session({**state, **number, **each})
            losses.append(result["loss"])
            state = self.exported.fed_back(state, result)
        session = Session(self.exported.finished, "file")
        if self.exported.scans:
            stacked = [{**number, **each} for each, number in zip(data, numbers, strict=True)]
            last = session({**given, **{n: torch.stack([s[n] for s in stacked]) for n in stacked[0]}})
            loss = torch.stack(losses)
        else:
            last, loss = session({**given, **numbers[0], **data[0]}), losses[0]
        new = self.exported.fed_back(given, last)
        for name, expected, found in [("loss", loss, last["loss"]), *((n, state[n], new[n]) for n in state)]:
            same = torch.allclose(found, expected, rtol=1e-5, atol=1e-7, equal_nan=True)
            if found.shape != expected.shape or not same:
                raise ExportError(self._said(name, expected, found, "the file to be written"))


def _near(found: Tensor, own: Tensor, exact: Tensor, noise: float = 0.0, scale: float = 0.0) -> bool:
    """Whether the graph's tensor is as near to the exact one as the step's own is, or nearly so.

    noise: how far from the exact one is right as well. scale: of what a rounding is allowed besides.
    """
    if found.shape != own.shape or found.dtype != own.dtype:
        return False
    if not own.is_floating_point():
        return torch.equal(found, own)
    rounding = torch.finfo(own.dtype).eps
    noise = max(noise, _distance(own, exact))
    if isfinite(noise):
        return _distance(found, exact) <= FACTOR * (noise + rounding * _largest(exact)) + rounding * scale
    # what is too large for the dtype, or no number in it, is to be so in the graph
    return _distance(found, own) <= FACTOR * rounding * _largest(own)


def _distance(a: Tensor, b: Tensor) -> float:
    """The largest difference; 0 between what is not a number, or infinite, in both alike."""
    a, b = a.double(), b.double()
    apart = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, (a - b).abs())
    return float(apart.nan_to_num(nan=float("inf")).amax()) if apart.numel() else 0.0


def _largest(x: Tensor) -> float:
    x = x.double().abs()
    return float(x[x.isfinite()].amax()) if bool(x.isfinite().any()) else 0.0
