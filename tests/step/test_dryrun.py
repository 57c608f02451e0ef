"""The dry run: it finds the operations of a step, changes nothing, and needs little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from modgrad import optim
from modgrad.step import dryrun
from modgrad.step.binding import Binding
from modgrad.step.dryrun import UntraceableError, dry_run
from modgrad.step.shapes import Shapes
from tests.step.models import pictures, step_of_everything, tensors


def lines_of_everything() -> list[str]:
    step = step_of_everything(lambda p: optim.Adam(p, lr=0.01), clip=1.0)
    binding: Any = step.prepared(lambda: run(step))
    return binding


def run(step: Any) -> list[str]:
    binding = Binding(step)
    before = tensors(step)
    lines, (leaves, loss) = dry_run(step.names(), binding.pure(True), binding.leaves, binding.numbers, pictures())
    after = tensors(step)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert [x.shape for x in leaves] == [x.shape for x in binding.leaves]
    assert loss.shape == ()
    return lines


def test_on_values_and_on_shadows_it_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    on_values = lines_of_everything()
    monkeypatch.setattr("modgrad.step.dryrun._SMALL", 0)
    assert lines_of_everything() == on_values
    assert len(on_values) > 200


def test_it_lists_operations_with_what_they_are_given() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return (x * 2 + torch.tensor([1.0, 2.0])).sum()

    lines, result = dry_run({}, function, torch.ones(3, 2))
    assert result == 21
    assert lines[0] == "aten.mul.Tensor %0 torch.float32(3, 2)(2, 1), 2"
    assert lines[-1].startswith("return %")
    other, _ = dry_run({}, function, torch.zeros(3, 2))
    assert other == lines


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: int(x.argmax()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x + 1),
        lambda x: torch.masked_select(x, x > 0),
        lambda x: x.unique(),
        lambda x: torch.repeat_interleave(x.long()),
    ],
)
@pytest.mark.parametrize("small", [0, 10**9])
def test_asking_for_values_is_refused(ask: Any, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modgrad.step.dryrun._SMALL", small)
    with pytest.raises(UntraceableError, match="the step asks for the value of a tensor"):
        dry_run({}, ask, torch.ones(3))


@pytest.mark.parametrize("change", [lambda x: x.add_(1), lambda x: x[0].zero_(), lambda x: x.view(-1).copy_(x + 1)])
@pytest.mark.parametrize("small", [0, 10**9])
def test_changing_what_is_given_is_refused(change: Any, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modgrad.step.dryrun._SMALL", small)
    x = torch.ones(3, 2)
    with pytest.raises(UntraceableError, match="change a clone of it"):
        dry_run({}, change, x)
    assert torch.equal(x, torch.ones(3, 2))


def test_changing_what_the_step_made_is_not() -> None:
    lines, result = dry_run({}, lambda x: x.clone().add_(1)[:1].zero_(), torch.ones(3))
    assert result.shape == (1,)
    assert len(lines) > 3


def test_an_error_says_where_it_was_raised() -> None:
    with pytest.raises(RuntimeError) as caught:
        dry_run({}, lambda x: x @ x, torch.ones(3, 2))
    assert caught.value.__notes__ == ["Raised by the step, while its step was traced"]


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_attention_draws_only_for_its_dropout(p: float) -> None:
    x = torch.randn(1, 2, 3, 4)
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    if not p:
        dry_run({}, lambda x: attention(x, x, x, p, True)[0], x)
        return
    with pytest.raises(UntraceableError, match="draws random numbers"):
        dry_run({}, lambda x: attention(x, x, x, p, True)[0], x)


def listed(function: Any, *inputs: Any) -> tuple[list[str], Shapes]:
    shapes = Shapes()
    lines, _ = dry_run({}, function, *inputs, shapes=shapes)
    shapes.save()
    return lines, shapes


def everything(x: torch.Tensor, w: torch.Tensor) -> Any:
    """Operations with several results, views, lists, changes in place, and tensors that are constants."""
    y = torch.addmm(torch.tensor([1.0, 2.0]), x, w.t()).relu()
    high, low = torch.cat([y, y.t().clone().t()], 1).chunk(2, 1)
    best, index = high.max(1)
    stacked = torch._foreach_mul([x, w], 2.0)
    turned = x.clone().mul_(3).t_()
    normed = torch.ops.aten.native_layer_norm(y, [2], None, None, 1e-5)
    return low.sum() + best.sum(), index, stacked, turned, normed


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MODGRAD_CACHE", str(tmp_path))
    monkeypatch.setattr("modgrad.step.dryrun._SMALL", 0)
    return tmp_path


def test_what_shapes_gave_is_remembered(remembering: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = torch.ones(4, 3), torch.ones(2, 3)
    plain, _ = dry_run({}, everything, *given)
    first, _ = listed(everything, *given)
    known = set(Shapes().known)
    assert known
    ran: list[str] = []
    real = dryrun._on_meta
    monkeypatch.setattr(dryrun, "_on_meta", lambda func, *rest: (ran.append(str(func)), real(func, *rest))[1])
    second, shapes = listed(everything, *given)
    assert plain == first == second
    assert set(ran) <= {f"aten.{view}" for view in ("t.default", "t_.default", "split.Tensor", "lift_fresh.default")}
    assert set(shapes.known) == known
    listed(everything, torch.ones(5, 3), torch.ones(2, 3))  # of other shapes
    assert "aten.addmm.default" in ran
    assert set(Shapes().known) > known


@pytest.mark.parametrize("damage", ["", "[1]", "{", "an entry of another kind", "an argument that is not there"])
def test_a_damaged_memory_of_shapes_is_made_anew(remembering: Path, damage: str) -> None:
    given = torch.ones(4, 3), torch.ones(2, 3)
    expected, shapes = listed(everything, *given)
    (path,) = remembering.iterdir()
    wrong: dict[str, Any] = {
        "an entry of another kind": {key: {"dtype": "torch.float3"} for key in shapes.known},
        "an argument that is not there": dict.fromkeys(shapes.known, 99),
    }
    path.write_text(json.dumps(wrong[damage]) if damage in wrong else damage)
    lines, _ = listed(everything, *given)
    assert lines == expected
    assert set(Shapes().known) == set(shapes.known)


def test_shapes_are_not_kept_where_nothing_can_be_written(remembering: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (remembering / "file").write_text("")
    monkeypatch.setenv("MODGRAD_CACHE", str(remembering / "file"))
    lines, _ = listed(everything, torch.ones(4, 3), torch.ones(2, 3))
    assert lines


def test_a_second_start_needs_none_of_what_computes_shapes(tmp_path: Path) -> None:
    start = (
        "import sys, torch\nfrom modgrad import nn, optim\nfrom modgrad.step import TrainingStep, dryrun\n"
        "from modgrad.step.binding import Binding\nfrom modgrad.step.shapes import Shapes\ndryrun._SMALL = 0\n"
        "model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))\n"
        "step = TrainingStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()))\n"
        "binding, shapes = Binding(step), Shapes()\n"
        "batch = torch.ones(5, 3), torch.zeros(5, dtype=torch.long)\n"
        "dryrun.dry_run(step.names(), binding.pure(True), binding.leaves, binding.numbers, batch, shapes=shapes)\n"
        "shapes.save()\nprint('sympy' in sys.modules, 'torch._dynamo' in sys.modules)\n"
    )
    environment = {**os.environ, "MODGRAD_CACHE": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", start], env=environment, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert said[1] == "False False\n"
