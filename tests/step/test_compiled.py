"""Compiled steps, as machine code. Compiling takes many seconds, so a few programs serve all tests; what does not need
machine code is in test_binding.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from modgrad import nn, optim
from modgrad.step import TrainingStep
from modgrad.step.compiled import CompiledStep
from modgrad.step.dryrun import UntraceableError
from tests.step.models import (
    Halving,
    assert_same,
    perceptron,
    pictures,
    points,
    step_of_everything,
    step_of_points,
    twin,
)

pytestmark = pytest.mark.xdist_group("compiled")  # one process, so that none is compiled twice
FLOAT32 = torch.float32
# The requirement: parameters of 100 steps in float32, in another order of operations.
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


class Gentle:
    """A schedule that changes lr a little, each time anew."""

    def __init__(self, optimizer: optim.Optimizer) -> None:
        self.optimizer = optimizer

    def step(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] *= 0.99


def make_everything() -> TrainingStep:
    step = step_of_everything(lambda p: optim.Adam(p, lr=0.003, weight_decay=0.01), FLOAT32, clip=1.0)
    step.scheduler = Gentle(step.optimizer)
    return step


def make_points(**options: Any) -> TrainingStep:
    return step_of_points(lambda p: optim.SGD(p, lr=0.05, momentum=0.9), FLOAT32, **options)


def test_everything_over_a_hundred_steps() -> None:
    """Convolution, batch norm, dropout, recompute, tied, frozen and idle parameters, clipping, Adam, a schedule; one
    step a call and ten, and eager steps in between, by one program."""
    step = make_everything()
    other = twin(step)
    one, ten = other.compile(), other.compile(steps=10)
    batches = [pictures(8, FLOAT32, i) for i in range(100)]
    for i in range(0, 100, 10):
        expected = torch.stack([step(*batch) for batch in batches[i : i + 10]])
        if i % 20:
            losses = ten(*map(torch.stack, zip(*batches[i : i + 10], strict=True)))
        else:
            losses = torch.stack(
                [(other if i + k == 43 else one)(*batch) for k, batch in enumerate(batches[i : i + 10])]
            )
        torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)
    assert_same(other, step, **CLOSE)
    assert one.compilations + ten.compilations <= 1
    assert one.compilations + ten.compilations + one.loaded + ten.loaded >= 2
    assert other.criterion.linear.weight is other.model.embedding.weight
    assert other.model.norm.num_batches_tracked == 100


def test_accumulating() -> None:
    """Two programs: one that adds, one that updates."""
    step = make_points(accumulate=3, fuse_update=True)
    other = twin(step)
    run = other.compile(steps=2)
    for i in range(6):
        batches = [points(6, FLOAT32, 2 * i + k) for k in range(2)]
        expected = torch.stack([step(*batch) for batch in batches])
        if i == 3:  # in the middle of accumulating
            losses = torch.stack([other(*batch) for batch in batches])
        else:
            losses = run(*map(torch.stack, zip(*batches, strict=True)))
        torch.testing.assert_close(losses, expected, **CLOSE)
        for mine, theirs in zip(other.model.parameters(), step.model.parameters(), strict=True):
            assert (mine.grad_v is None) == (theirs.grad_v is None)
            if mine.grad_v is not None:
                torch.testing.assert_close(mine.grad_v, theirs.grad_v, **CLOSE)
    assert_same(other, step, **CLOSE)
    assert run.compilations <= 2


def test_batch_sizes() -> None:
    """The first has a program of its own; from the second on one serves all."""
    step = make_points()
    other = twin(step)
    run = other.compile()
    for i, size in enumerate([6, 6, 4, 9, 6, 2]):
        torch.testing.assert_close(run(*points(size, FLOAT32, i)), step(*points(size, FLOAT32, i)), **CLOSE)
    assert_same(other, step, **CLOSE)
    assert run.compilations <= 2


def test_changes_in_between() -> None:
    """Anything that may change between steps changes here, with no program but that of the first batch size."""
    step = make_points()
    other = twin(step)
    run = other.compile()
    saved = {name: x.clone() for name, x in step.model.state_dict().items()}

    def set_lr(value: Any) -> Any:
        return lambda s: s.optimizer.param_groups[0].update(lr=value)

    changes: list[Any] = [
        lambda s: None,
        set_lr(0.01),
        set_lr(0.0),
        set_lr(torch.tensor(0.125)),
        set_lr(0.05),
        lambda s: s.model.eval(),
        lambda s: s.model.train(),
        lambda s: s.model.load_state_dict(saved),
        lambda s: s.optimizer.load_state_dict(s.optimizer.state_dict()),
        lambda s: setattr(s.model[0].weight, "data", s.model[0].weight.data * 0.5),
        lambda s: s(*points(6, FLOAT32, 50)),
    ]
    for i, change in enumerate(changes):
        change(step)
        change(other)
        torch.testing.assert_close(run(*points(6, FLOAT32, i)), step(*points(6, FLOAT32, i)), **CLOSE)
        assert_same(other, step, **CLOSE)
    assert run.compilations <= 1
    x, y = points(12, FLOAT32)
    strided = (x[::2], y[::2])
    torch.testing.assert_close(run(*strided), step(*strided), **CLOSE)
    assert run.compilations <= 1


def test_backward_after_a_compiled_step_is_refused() -> None:
    """As after any change in place of what the forward saved."""
    step = make_points()
    x, y = points(6, FLOAT32)
    run = step.compile()
    run(x, y)
    loss = step.criterion(step.model(x), y)
    run(x, y)
    with pytest.raises(RuntimeError, match="changed in place after forward"):
        loss.backward()


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from tests.step.test_compiled import make_everything, pictures, FLOAT32\n"
        "compiled = make_everything().compile()\n"
        "loss = compiled(*pictures(8, FLOAT32))\n"
        "slow = [name for name in ('torch._inductor.compile_fx', 'torch._dynamo', 'sympy') if name in sys.modules]\n"
        "print(compiled.compilations, compiled.loaded, slow, float(loss))\n"
    )
    root = Path(__file__).parent.parent.parent
    done = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        done.append(run.stdout.split())
    assert done[1][:2] == ["0", "1"]
    assert done[1][2] == "[]", "importing PyTorch's compiler takes seconds"
    assert done[0][-1] == done[1][-1]


class Foreign(nn.Primitive):
    """One that computes by an operation made in Python."""

    def forward(self, call: Any, x: Any) -> Any:
        return torch.ops.modgrad_tests.twice(x)

    def backward(self, call: Any, grad: Any) -> Any:
        return grad * 2


class Leaving(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * float(x.numpy().max())


def test_what_cannot_be_compiled_says_why_and_where() -> None:
    library = torch.library.Library("modgrad_tests", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")
    library.impl("twice", torch.empty_like, "Meta")
    for module, message in (
        (Foreign(), r"1 \(Foreign\).forward calls modgrad_tests.twice.default, an operation made in Python"),
        (Leaving(), r"module '1' \(Leaving\)"),
    ):
        model = perceptron(FLOAT32)
        model.insert(1, module)
        run = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters())).compile()
        with pytest.raises(UntraceableError, match=message):
            run(*points(6, FLOAT32))
        assert run.compilations == 0


def test_a_missing_compiler_is_found_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODGRAD_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler -O1")
    monkeypatch.setattr("torch._inductor.aot_compile", lambda *a, **k: pytest.fail("too late"))
    with pytest.raises(RuntimeError, match="C and a C\\+\\+ compiler.*no-such-compiler.*install gcc and g\\+\\+"):
        make_points().compile()(*points(6, FLOAT32))
    assert not list(tmp_path.iterdir()), "nothing half made is left"


def test_an_error_of_the_compiler_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise ValueError("no room\n  target: aten.tanh.default\n")

    monkeypatch.setenv("MODGRAD_CACHE", str(tmp_path))
    monkeypatch.setattr("torch._inductor.aot_compile", fail)
    with pytest.raises(UntraceableError, match=r"could not compile the step, at 1 \(Tanh\).forward: ValueError"):
        make_points().compile()(*points(6, FLOAT32))
    assert not list(tmp_path.iterdir())


def compiled() -> CompiledStep:
    return make_points().compile(steps=2)


ERRORS: list[tuple[Any, type[Exception], str]] = [
    (lambda: make_points().compile(backend="triton"), ValueError, "backend='triton'"),
    (lambda: make_points().compile(steps=0), ValueError, "steps=0"),
    (lambda: compiled()(*points(6, FLOAT32)), ValueError, r"2 batches stacked.*torch.stack"),
    (lambda: compiled()(torch.ones(2, 6, 3)), TypeError, r"write step\(x, y\)"),
    (lambda: make_points().compile()(3, points()[1]), TypeError, "for cpu takes tensors there.*got int 3"),
    (
        lambda: make_points().compile(backend="cudagraph")(*points(6, FLOAT32)),
        TypeError,
        "for cuda takes tensors there",
    ),
    (lambda: make_points().compile()(torch.ones(2, 3, device="meta"), points()[1]), TypeError, "on meta"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS, ids=[row[2] for row in ERRORS])
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_model_elsewhere_is_refused() -> None:
    step = make_points()
    step.model.to("meta")
    step = TrainingStep(step.model, step.criterion, optim.SGD(step.model.parameters()))
    with pytest.raises(TypeError, match=r"0.weight is .* on meta: backend 'aotinductor' is for usual dtypes on cpu"):
        step.compile()(*points(6, FLOAT32))


def test_the_schedule_goes_on_through_the_steps_of_a_call() -> None:
    step = make_points()
    other = twin(step)
    step.scheduler, other.scheduler = Halving(step.optimizer), Halving(other.optimizer)
    run = other.compile(steps=4)
    batches = [points(6, FLOAT32, i) for i in range(4)]
    losses = run(*map(torch.stack, zip(*batches, strict=True)))
    torch.testing.assert_close(losses, torch.stack([step(*batch) for batch in batches]), **CLOSE)
    assert_same(other, step, **CLOSE)
    assert run.compilations <= 1
