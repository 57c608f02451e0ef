"""An exported step held against the eager one, before it is handed over.

Compilers of training graphs go wrong in silence: they drop an eps, round a number, lose an update. So the exported step
runs beside the eager one, on batches of which one makes gradients exactly zero, and every tensor is compared.

How far two right programs may be apart is not a constant: where a gradient is zero but for rounding, as that of a
convolution's bias before a batch norm, Adam makes whole steps of the noise. It is measured: a second eager run starts
from parameters that differ in their last bit, and what that changes is what rounding may change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from modgrad.export.aoti.batches import frugal
from modgrad.export.onnx import layout
from modgrad.export.onnx.eager import predictions
from modgrad.export.onnx.errors import ExportError
from modgrad.export.twin import duplicate

if TYPE_CHECKING:
    from modgrad.step.training import TrainingStep

_plainly = torch._C.DisableTorchFunctionSubclass
State = dict[str, Tensor]
Run = Callable[[State, list[Tensor], Any], tuple[State, Tensor]]

ULPS = 32  # by which sums of another order may differ, besides what is measured
MEASURED = 8  # times what a changed last bit changes: that is one sample of it, not the worst


def check(step: TrainingStep, run: Run, batch: Any, steps: int = 3) -> None:
    """Raise ExportError unless `run` does what `step` does, for some steps from where it is. The step itself stays.

    run: (state by name, learning rates, batch) -> (new state by name, loss).
    """
    compare(step, run, [batch] * steps)
    compare(step, run, [frugal(batch), batch], finite=False)


def compare(step: TrainingStep, run: Run, batches: list[Any], finite: bool = True) -> None:
    """As `check`, on these batches. finite: whether a NaN in the eager step's loss is refused."""
    eager, nudged = _drawing(step), _drawing(step)
    _nudge(nudged)
    state = {each.name: each.tensor.clone(memory_format=torch.contiguous_format) for each in layout.named(eager.state)}
    with _repeatable():
        for number, batch in enumerate(batches, 1):
            rates = learning_rates(eager)
            expected, other = eager(*batch), nudged(*batch)
            if finite and not bool(torch.isfinite(expected).all()):
                raise ExportError(
                    f"the loss of the batch is {expected.item()}, of which nothing can be checked: export with a batch "
                    "that the step can train on"
                )
            state, loss = _given(run, state, rates, batch)
            others = {each.name: each.tensor for each in layout.named(nudged.state)}
            _hold("the loss", loss, expected, other, number, step)
            for each in layout.named(eager.state):
                what = f"{each.kind} {each.name!r}{_owner(step, each.name)}"
                _hold(what, state[each.name], each.tensor, others[each.name], number, step)


def _drawing(step: TrainingStep) -> TrainingStep:
    """A step of its own that has come as far, and draws its randomness as a program does."""
    twin = duplicate(step)
    twin._keyed = twin.randomness is not None
    return twin


def learning_rates(step: TrainingStep) -> list[Tensor]:
    """Those of the optimizer's groups, float64 scalars."""
    return [torch.tensor(float(group["lr"]), dtype=torch.float64) for group in step.optimizer.param_groups]


def check_prediction(step: TrainingStep, run: Callable[[Any], list[Tensor]], inputs: tuple[Any, ...]) -> None:
    """Raise ExportError unless `run` gives what the model gives in evaluation mode."""
    eager, nudged = _drawing(step), _drawing(step)
    _nudge(nudged)
    expected, other = predictions(eager, inputs), predictions(nudged, inputs)
    found = _given(run, inputs)
    if len(found) != len(expected):
        raise ExportError(f"the prediction has {len(found)} tensors, the model's has {len(expected)}")
    for value, right, near in zip(found, expected, other, strict=True):
        _hold("the prediction", value, right, near, 0, step)


def _given(run: Callable[..., Any], *arguments: Any) -> Any:
    """What the exported program gives for what the step has taken without an error."""
    try:
        return run(*arguments)
    except Exception as error:
        raise ExportError(
            f"the exported program fails where the step does not, and was not written: {error}. Please report it with "
            "the model"
        ) from error


def _nudge(step: TrainingStep) -> None:
    """Change the parameters in their last bit, up or down."""
    generator = torch.Generator().manual_seed(0)
    with _plainly():
        for parameter in step.parameters().values():
            signs = torch.randint(2, parameter.shape, generator=generator) * 2 - 1
            scale = 1 + signs.to(parameter.device, torch.float64) * _epsilon(parameter.dtype, step)
            parameter.copy_((parameter.double() * scale).to(parameter.dtype))


def _epsilon(dtype: torch.dtype, step: TrainingStep) -> float:
    """The last bit of what is computed with."""
    own = torch.finfo(dtype).eps
    return own if step.autocast is None else max(own, torch.finfo(step.autocast).eps)


def _hold(what: str, found: Tensor, right: Tensor, near: Tensor, number: int, step: TrainingStep) -> None:
    with _plainly():
        found, right, near = found.detach().cpu(), right.detach().cpu(), near.detach().cpu()
        when = f" after step {number}" if number else ""
        if found.shape != right.shape or found.dtype != right.dtype:
            raise ExportError(
                f"{what} is {found.dtype} of shape {tuple(found.shape)}{when}, the eager step's is {right.dtype} of "
                f"shape {tuple(right.shape)}"
            )
        if not right.is_floating_point():
            if not torch.equal(found, right):
                raise ExportError(f"{what} is not the eager step's{when}: {_values(found)}, not {_values(right)}")
            return
        exact = right.double()
        bounded = torch.where(exact.isfinite(), exact, 0).abs()
        largest = bounded.max().item() if right.numel() else 0.0
        noise = torch.where((near.double() - exact).isfinite(), near.double() - exact, 0).abs()
        allowed = ULPS * _epsilon(right.dtype, step) * largest + MEASURED * (noise.max().item() if noise.numel() else 0)
        apart = (found.double() - exact).abs()
        same = torch.isclose(found.double(), exact, rtol=0, atol=allowed, equal_nan=True)
        if not bool(same.all()):
            worst = torch.where(apart.isfinite(), apart, torch.inf)[~same].max().item()
            raise ExportError(
                f"{what} is {worst:.2g} away from the eager step's{when}, where rounding explains {allowed:.2g}: the "
                "exported program is wrong, and was not written. Please report it with the model"
            )


def _values(x: Tensor) -> str:
    return str(x.flatten()[:8].tolist())


def _owner(step: TrainingStep, name: str) -> str:
    """The module that a tensor of the state belongs to, as it is told in an error."""
    name = name.removeprefix("gradient.")
    for prefix, root in (("criterion.", step.criterion), ("", step.model)):
        if not name.startswith(prefix):
            continue
        path = name.removeprefix(prefix).rpartition(".")[0]
        while path:
            try:
                return f" of {prefix}{path} ({type(root.get_submodule(path)).__name__})"
            except AttributeError:  # the name of a tensor that the optimizer keeps has its key at the end
                path = path.rpartition(".")[0]
    return ""


@contextmanager
def _repeatable() -> Iterator[None]:
    """Inside, what is drawn from torch's generator outside of the step's randomness leaves no trace."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
