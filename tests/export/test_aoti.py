"""Steps as packages of machine code: what they hold, what they are checked for, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from modgrad import nn, optim
from modgrad.export.aoti import batches
from modgrad.export.aoti.check import check
from modgrad.export.onnx import layout, packing
from modgrad.export.onnx.errors import ExportError
from modgrad.export.onnx.program import Programs
from modgrad.step import TrainingStep
from modgrad.step.state import SCHEDULE
from tests.step.models import pictures, points, step_of_everything, step_of_points, tensors

FLOAT32 = torch.float32
Make = Callable[[], tuple[TrainingStep, tuple[Any, ...]]]

STEPS: dict[str, Make] = {
    "perceptron, Adam": lambda: (step_of_points(lambda p: optim.Adam(p, lr=0.01), FLOAT32), points(6, FLOAT32)),
    "everything, AdamW": lambda: (step_of_everything(lambda p: optim.AdamW(p, lr=0.01), FLOAT32), pictures(6, FLOAT32)),
    "everything, SGD, accumulated and clipped": lambda: (
        step_of_everything(lambda p: optim.SGD(p, lr=0.1, momentum=0.9), FLOAT32, accumulate=2, clip=1.0),
        pictures(6, FLOAT32),
    ),
    "in two groups, after two steps": lambda: after_two_steps(two_groups()),
    "channels last": lambda: (channels_last(), pictures(6, FLOAT32)),
    "perceptron, Adam, packed": lambda: STEPS["perceptron, Adam"](),
    "in two groups, packed": lambda: after_two_steps(two_groups()),
}


def two_groups() -> TrainingStep:
    return step_of_points(
        lambda p: optim.RMSprop([{"params": (p := list(p))[:2], "lr": 0.02}, {"params": p[2:]}], lr=0.01, momentum=0.5),
        FLOAT32,
    )


def after_two_steps(step: TrainingStep) -> tuple[TrainingStep, tuple[Any, ...]]:
    for seed in range(2):
        step(*points(6, FLOAT32, seed))
    return step, points(6, FLOAT32)


def channels_last() -> TrainingStep:
    step = step_of_everything(lambda p: optim.Adam(p, lr=0.01), FLOAT32)
    step.model.to(memory_format=torch.channels_last)
    return step


class Package:
    """A package, run by what its manifest says."""

    def __init__(self, path: Path) -> None:
        from torch._inductor.package.package import load_package

        self.manifest = json.loads(path.with_name(f"{path.name}.json").read_text())
        files = self.manifest["files"]
        self._held = self.manifest["tensors"]
        named = load_file(path.with_name(files["state"]))
        self.given = {
            entry["input"]: torch.cat([named[each["name"]].flatten() for each in entry["holds"]]).reshape(
                entry["shape"]
            )
            for entry in self._held
        }
        self._step = load_package(str(path.with_name(files["step"])), "step")
        self._predict = load_package(str(path.with_name(files["predict"])), "predict")

    @property
    def state(self) -> dict[str, Tensor]:
        shapes = {entry["name"]: entry["shape"] for entry in self.manifest["state"]}
        found = {}
        for entry in self._held:
            for each in entry["holds"]:
                shape = torch.Size(shapes[each["name"]])
                flat = self.given[entry["input"]].flatten()[each["offset"] :][: shape.numel()]
                found[each["name"]] = flat.reshape(shape)
        return found

    def step(self, batch: tuple[Any, ...], factor: float = 1.0) -> Tensor:
        numbers = [torch.tensor(n["value"] * factor, dtype=torch.float64) for n in self.manifest["numbers"]]
        *new, loss = self._step(list(self.given.values()), (numbers, batch))
        named = [entry["input"] for entry in self._held if entry["output"] is not None]
        self.given |= dict(zip(named, new, strict=True))
        return loss

    def predict(self, inputs: tuple[Any, ...]) -> Tensor:
        (prediction,) = self._predict([self.given[name] for name in self.manifest["predict"]["state"]], ([], inputs))
        return prediction


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.thorough] if i else [], id=n.replace(" ", "-")) for i, n in enumerate(STEPS)],
)
@pytest.mark.xdist_group("compiled")
def test_a_package_trains_as_the_step_does(name: str, tmp_path: Path) -> None:
    torch.use_deterministic_algorithms(False)
    step, batch = STEPS[name]()
    before = tensors(step)
    manifest = step.export_aoti(tmp_path / "it.pt2", *batch, pack=name.endswith("packed"))
    assert {file.name for file in tmp_path.iterdir()} == {"it.pt2", "it.pt2.json", "it.safetensors"}
    after = tensors(step)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before), "the step itself stays as it is"
    package = Package(tmp_path / "it.pt2")
    assert package.manifest == manifest
    assert {entry["name"] for entry in manifest["state"]} == package.state.keys()
    assert (len(package.given) < len(package.state)) is name.endswith("packed")
    for entry in manifest["state"]:
        tensor = package.state[entry["name"]]
        assert [str(tensor.dtype), list(tensor.shape)] == [f"torch.{entry['dtype']}", entry["shape"]]
    assert all(port["shape"][0] == "batch" for port in manifest["batch"])
    assert manifest["batch_sizes"][1] is None

    for k, size in enumerate((6, 9, 4, 6)):
        other = batches.resized(batch, size)
        for group in step.optimizer.param_groups:
            group["lr"] *= 0.5
        torch.testing.assert_close(package.step(other, 0.5 ** (k + 1)), step(*other), rtol=1e-5, atol=1e-6)
    for each in layout.named(step.state):
        torch.testing.assert_close(
            package.state[each.name], each.tensor, rtol=1e-4, atol=1e-5, msg=lambda m, n=each.name: f"{n}: {m}"
        )
    step.model.eval()
    inputs = batches.resized(batch[:-1], 3)
    with nn.no_grad():
        torch.testing.assert_close(package.predict(inputs), step.model(*inputs), rtol=1e-4, atol=1e-5)


# What a wrong program would do, each told by the check with the name of what is wrong.
State = dict[str, Tensor]


def without_eps(step: TrainingStep) -> None:
    """As torch.onnx.export leaves it out."""
    for group in step.optimizer.param_groups:
        group["eps"] = 0.0


def nothing(step: TrainingStep) -> None:
    pass


def other_rate(step: TrainingStep) -> None:
    for group in step.optimizer.param_groups:
        group["betas"] = (0.9, 0.99)


def lost(name: str) -> Callable[[State, State, Tensor], tuple[State, Tensor]]:
    return lambda old, new, loss: ({**new, name: old[name]}, loss)


def changed(name: str, by: float) -> Callable[[State, State, Tensor], tuple[State, Tensor]]:
    return lambda old, new, loss: ({**new, name: new[name] + by}, loss)


def as_it_is(old: State, new: State, loss: Tensor) -> tuple[State, Tensor]:
    return new, loss


WRONG: list[tuple[Callable[[TrainingStep], None], Any, str]] = [
    (without_eps, as_it_is, r"parameter '.*\.weight' of .* is inf away from the eager step's after step 1"),
    (other_rate, as_it_is, r"optimizer 'convolution.weight.exp_avg_sq' of convolution \(Conv2d\).* away"),
    (nothing, lost("inner.bias"), r"parameter 'inner.bias' of inner \(Linear\) is .* away"),
    (nothing, changed("inner.bias", 1e-4), r"parameter 'inner.bias' of inner \(Linear\) is 0.0001 away"),
    (nothing, lost("norm.running_var"), r"buffer 'norm.running_var' of norm \(BatchNorm2d\) is .* away"),
    (nothing, lost("norm.num_batches_tracked"), r"buffer 'norm.num_batches_tracked' .* not the eager step's"),
    (nothing, lost("seed"), r"randomness 'seed' is not the eager step's after step 1"),
    (nothing, lost("convolution.weight.step"), r"optimizer 'convolution.weight.step' of convolution"),
    (nothing, lambda old, new, loss: (new, loss * 1.001), r"the loss is .* away"),
    (nothing, lambda old, new, loss: (new, loss.double()), r"the loss is torch.float64 of shape \(\)"),
    (nothing, changed("criterion.linear.bias", 1e-4), r"parameter 'criterion.linear.bias' of criterion.linear"),
]


def program(step: TrainingStep, result: Any) -> Any:
    """The step's program, run without being compiled, and what becomes of its results."""
    programs = Programs(step, pictures(6, FLOAT32), pack=False)
    held = packing.held(programs.state, [], SCHEDULE)

    def run(named: State, rates: list[Tensor], batch: Any) -> tuple[State, Tensor]:
        given: Any = {SCHEDULE: dict(zip(programs.state[SCHEDULE], rates, strict=True))}
        for each in held:
            kind, name = each.place
            given.setdefault(kind, {})[name] = named[each.input]
        new, loss, _ = programs.train(given, batch)
        return result(named, {each.input: new[each.place[0]][each.place[1]] for each in held}, loss)

    return run


def everything() -> TrainingStep:
    return step_of_everything(lambda p: optim.Adam(p, lr=0.01), FLOAT32)


def test_a_right_program_passes() -> None:
    step = everything()
    check(step, program(step, as_it_is), pictures(6, FLOAT32))


@pytest.mark.parametrize(("wrong", "result", "message"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_program_is_refused(wrong: Any, result: Any, message: str) -> None:
    step, other = everything(), everything()
    program(step, as_it_is)  # which gives the step what a program needs of it
    wrong(other)
    with pytest.raises(ExportError, match=message):
        check(step, program(other, result), pictures(6, FLOAT32))


def test_a_batch_of_which_nothing_can_be_told() -> None:
    image, *rest = pictures(6, FLOAT32)
    step = everything()
    with pytest.raises(ExportError, match="the loss of the batch is nan"):
        check(step, program(step, as_it_is), (image * torch.nan, *rest))


class Thirty(nn.Module):
    """Made for one batch size."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.linear(x).reshape(6, 2)


class Misnamed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.ones(3, 2))

    def forward(self, x: Any) -> Any:
        return x @ self.x


def of(model: nn.Module) -> TrainingStep:
    return TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))


REFUSED: list[tuple[Callable[[Path], Any], type[Exception], str]] = [
    (lambda path: of(Thirty()).export_aoti(path / "it.onnx", *points(6, FLOAT32)), ValueError, r"ends in \.pt2"),
    (lambda path: of(Thirty()).export_aoti(path / "no" / "it.pt2", *points()), FileNotFoundError, "there is no folder"),
    (lambda path: of(Thirty()).export_aoti(path / "it.pt2", [[1.0]], [0]), TypeError, "tensors on the CPU.*got"),
    (lambda path: of(Thirty()).export_aoti(path / "it.pt2", torch.ones(6, 3)), TypeError, r"write step\(x, y\)"),
    (
        lambda path: of(Thirty().to("meta")).export_aoti(path / "it.pt2", *points(6, FLOAT32)),
        TypeError,
        r"linear.weight is .* on meta.*\.to\('cpu'\)",
    ),
    (
        lambda path: of(Thirty()).export_aoti(path / "it.pt2", *points(6, FLOAT32), dynamic=True),
        ExportError,
        "allows only the batch size that it was given.*write -1",
    ),
    (
        lambda path: of(Misnamed()).export_aoti(path / "it.pt2", *points(6, FLOAT32)),
        ExportError,
        "'x' would name two inputs",
    ),
]


@pytest.mark.parametrize(("do", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusals(do: Any, error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        do(tmp_path)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.thorough
@pytest.mark.xdist_group("compiled")
def test_a_model_of_one_batch_size(tmp_path: Path) -> None:
    manifest = of(Thirty()).export_aoti(tmp_path / "it.pt2", *points(6, FLOAT32))
    assert [port["shape"] for port in manifest["batch"]] == [[6, 3], [6]]
    assert manifest["batch_sizes"] == manifest["predict"]["batch_sizes"] == [6, 6]


@pytest.mark.thorough
@pytest.mark.xdist_group("compiled")
def test_a_fixed_step_predicts_for_any_size(tmp_path: Path) -> None:
    step, batch = STEPS["perceptron, Adam"]()
    manifest = step.export_aoti(tmp_path / "it.pt2", *batch, dynamic=False)
    assert [port["shape"] for port in manifest["batch"]] == [[6, 3], [6]]
    assert manifest["batch_sizes"] == [6, 6]
    assert manifest["predict"]["batch"][0]["shape"] == ["batch", 3]
    assert manifest["predict"]["batch_sizes"] == [1, None]


@pytest.mark.thorough
@pytest.mark.xdist_group("compiled")
def test_a_wrong_package_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch._inductor.aot_compile

    def miscompiled(module: Any, *args: Any, **options: Any) -> Any:
        for node in module.graph.nodes:
            if node.target is torch.ops.aten.mul.Tensor:
                node.target = torch.ops.aten.div.Tensor
        module.recompile()
        return real(module, *args, **options)

    monkeypatch.setattr("torch._inductor.aot_compile", miscompiled)
    step, batch = STEPS["perceptron, Adam"]()
    with pytest.raises(ExportError, match="away from the eager step's.*was not written"):
        step.export_aoti(tmp_path / "it.pt2", *batch)
    assert not list(tmp_path.iterdir())
