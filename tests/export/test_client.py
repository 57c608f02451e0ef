"""OnnxTrainer on what export_onnx writes, beside the training step that it was written from; and the command for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modgrad
from modgrad import cli, nn, optim
from modgrad.export import OnnxTrainer
from modgrad.step import TrainingStep
from tests.export.running import tensors

FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "gradients": {"gradients": True},
    "packed": {"pack": True},
    "scan": {"steps": "scan"},
    "everything": {"steps": "scan", "pack": True, "gradients": True},
}
LR = {"0.lr": 0.02, "1.lr": 0.005}


def made() -> TrainingStep:
    """Parameters, buffers, an optimizer's state, a seed, a frozen parameter, two groups of learning rates."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.3), nn.Linear(7, 3))
    model[0].bias.grad_f = False
    rest = [*model[1].parameters(), *model[4].parameters()]
    optimizer = optim.Adam([{"params": model[0].parameters()}, {"params": rest, "lr": 0.03}], lr=0.01)
    return TrainingStep(model, nn.CrossEntropyLoss(), optimizer, seed=5)


def batches(count: int, size: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(size)
    x, y = torch.randn(count, size, 2, generator=generator), torch.randint(3, (count, size), generator=generator)
    return x, y


def exported(folder: Path, form: str = "plain") -> tuple[OnnxTrainer, TrainingStep]:
    step = made()
    step.export_onnx(folder / "it.onnx", *(value[0] for value in batches(1)), **FORMS[form])
    return OnnxTrainer(folder / "it.onnx", threads=1), step


def close(trainer: OnnxTrainer, step: TrainingStep) -> None:
    """float32 after some steps of Adam, in other orders of summing: a thousandth of a step's size."""
    found, wanted = trainer.state, tensors(step)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-5, atol=5e-6, err_msg=name)


@pytest.mark.parametrize("form", FORMS)
def test_trains_as_the_step_does(form: str, tmp_path: Path) -> None:
    """In several batch sizes and learning rates, and with the same dropout."""
    trainer, step = exported(tmp_path, form)
    close(trainer, step)
    for size, lr in ((12, None), (5, LR), (12, LR)):
        if lr is not None:
            for group, rate in zip(step.optimizer.param_groups, lr.values(), strict=True):
                group["lr"] = rate
        x, y = batches(3, size)
        if trainer.manifest.scan:
            losses = trainer.step(x.numpy(), y.numpy(), lr=lr)
        else:
            losses = [trainer.step(*(v.numpy() for v in pair), lr=lr) for pair in zip(x, y, strict=True)]
        wanted = [step(*pair).item() for pair in zip(x, y, strict=True)]
        np.testing.assert_allclose(losses, wanted, rtol=1e-5)
    close(trainer, step)
    step.model.eval()
    np.testing.assert_allclose(trainer.predict(x[0].numpy()), step.model(x[0]).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert bool(trainer.manifest.gradients) == FORMS[form].get("gradients", False)
    assert (len(trainer.manifest.tensors) < len(trainer.manifest.named)) == FORMS[form].get("pack", False)


def test_learning_rates_of_each_stacked_step(tmp_path: Path) -> None:
    trainer, step = exported(tmp_path, "scan")
    x, y = batches(4)
    rates = {"0.lr": [0.02, 0.01, 0.005, 0.0], "1.lr": np.array([0.1, 0.2, 0.3, 0.4])}
    losses = trainer.step(x.numpy(), y.numpy(), lr=rates)
    for number in range(4):
        for group, each in zip(step.optimizer.param_groups, rates.values(), strict=True):
            group["lr"] = float(each[number])
        assert losses[number] == pytest.approx(step(x[number], y[number]).item(), rel=1e-5)
    close(trainer, step)
    before = trainer.state
    with pytest.raises(ValueError, match=r"0\.lr has shape \(3,\): expected a number, or one for each of the 4 steps"):
        trainer.step(x.numpy(), y.numpy(), lr={"0.lr": [0.1] * 3})
    with pytest.raises(ValueError, match=r"x has shape \(12, 2\), expected \(steps, batch, 2\)"):
        trainer.step(x[0].numpy(), y[0].numpy())
    with pytest.raises(ValueError, match="so steps is 3; by x it is 4"):
        trainer.step(x.numpy(), y[:3].numpy())
    for name, value in trainer.state.items():
        np.testing.assert_array_equal(value, before[name])


def test_state_goes_on_to_modgrad_and_to_pytorch(tmp_path: Path) -> None:
    """What was trained by the client is a model's state by the same names; and a model's weights go back."""
    trainer, step = exported(tmp_path)
    x, y = (value[0].numpy() for value in batches(1))
    for _ in range(3):
        trainer.step(x, y)
    trainer.save(tmp_path / "trained.safetensors")
    state = modgrad.load(tmp_path / "trained.safetensors")
    own = {name: state[name] for name in step.model.state_dict()}
    step.model.load_state_dict(own)
    step.model.eval()
    theirs = torch.nn.Sequential(
        *(torch.nn.Linear(2, 7), torch.nn.BatchNorm1d(7), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(7, 3))
    )
    theirs.load_state_dict(own)
    for model in (step.model, theirs.eval()):
        found = model(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(found, trainer.predict(x), rtol=1e-5, atol=1e-6)
    modgrad.save(theirs.state_dict(), tmp_path / "theirs.safetensors")
    other, _ = exported(tmp_path)
    other.load(tmp_path / "theirs.safetensors")
    np.testing.assert_array_equal(other.predict(x), trainer.predict(x))
    assert not any(value.any() for name, value in other.state.items() if name.endswith("exp_avg"))


USER = """
import torch
from modgrad import nn, optim
from modgrad.step import TrainingStep

def training_step():
    model = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 2))
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01))
    return step, torch.rand(8, 2), torch.randint(2, (8,))

def refused():
    step, x, y = training_step()
    return step, x[:, :1], y
"""


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("exported_by_the_command.py").write_text(USER)
    assert cli.main(["export", "exported_by_the_command.py", "mine.onnx", "--gradients"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"Sequential with CrossEntropyLoss and Adam, in {tmp_path}\n")
    assert {"mine.onnx", "mine.predict.onnx", "mine.json", "mine.safetensors"} <= {*told.split()}
    assert "Inputs beside the state: x (batch, 2) float32, y (batch,) int64, lr float64\nOperators: " in told
    trainer = OnnxTrainer("mine.onnx")
    trainer.step(np.ones((3, 2), np.float32), np.zeros(3, np.int64))
    assert trainer.gradients.keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert cli.main(["export", "exported_by_the_command.py:refused", "other.onnx"]) == 1
    assert "modgrad export: other.onnx was not written. " in capsys.readouterr().err
    assert not list(tmp_path.glob("other*"))
