"""helper.train_model: what it is on, what it refuses, and how it ends."""

from __future__ import annotations

import gc
import re
from itertools import chain

import pytest
import torch
from torch import Tensor
from tqdm import tqdm

from modgrad import nn, optim
from modgrad.helper import compute_nb_errors, one_hot_encoding, train_model


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def raises(kind: type[Exception], message: str):
    return pytest.raises(kind, match=re.escape(message))


def small_task(seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """A model of two layers with 10 points of 3 classes, in float64."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    inputs = torch.randn(10, 2, dtype=torch.float64)
    return model, inputs, (inputs > 0).sum(1)


def descent(model: nn.Module) -> optim.Optimizer:
    return optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


@pytest.mark.parametrize("optimizer_of", [descent, lambda model: torch.optim.SGD(model.parameters(), 0.1, 0.9)])
def test_training_is_what_pytorch_does_on_the_same_batches(optimizer_of):
    model, inputs, targets = small_task()
    oracle = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
    oracle.load_state_dict(model.state_dict())
    history = train_model(
        model, inputs, targets, optimizer_of(model), nn.CrossEntropyLoss(), 4, 4, seeded(7), progress=False
    )
    optimizer, generator, losses = torch.optim.SGD(oracle.parameters(), 0.1, 0.9), seeded(7), []
    for _ in range(4):
        total = 0.0
        for chosen in torch.randperm(10, generator=generator).split(4):  # 4, 4 and 2 points
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(oracle(inputs[chosen]), targets[chosen])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        losses.append(total / 10)
    assert list(history) == ["loss"]
    assert history["loss"] == pytest.approx(losses, rel=1e-12)
    for name, value in oracle.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-12, atol=1e-12)


class Watch(nn.Module):
    """Passes on, noting what came by, and whether in training."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.seen: list[tuple[list[float], bool]] = []

    def forward(self, x):
        self.seen.append((x[:, 0].tolist(), self.training))
        return self.inner(x)


def seen_in_training(seed: int | None) -> list[list[float]]:
    model = Watch(nn.Linear(1, 2))
    inputs, targets = torch.arange(20.0).unsqueeze(1), torch.arange(20) % 2
    generator = None if seed is None else seeded(seed)
    train_model(
        model, inputs, targets, optim.SGD(model.parameters()), nn.CrossEntropyLoss(), 2, 6, generator, progress=False
    )
    return [points for points, _ in model.seen]


def test_each_epoch_sees_every_point_once_in_an_order_of_its_own():
    batches = seen_in_training(0)
    assert [len(batch) for batch in batches] == [6, 6, 6, 2] * 2
    first, second = (list(chain(*epoch)) for epoch in (batches[:4], batches[4:]))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first != sorted(first)
    assert seen_in_training(0) == batches
    assert seen_in_training(1) != batches


def test_no_batch_leaves_its_graph_behind():
    model, inputs, targets = small_task()
    alive = []

    def criterion(output, target):
        alive.append(sum(type(thing) is nn.Variable for thing in gc.get_objects()))
        return nn.CrossEntropyLoss()(output, target)

    train_model(model, inputs, targets, descent(model), criterion, 1, 1, progress=False)
    assert alive == alive[:1] * 10


def test_without_a_generator_the_order_follows_torchs_seed():
    torch.manual_seed(5)
    batches = seen_in_training(None)
    assert seen_in_training(None) != batches
    torch.manual_seed(5)
    assert seen_in_training(None) == batches


def test_training_puts_the_model_in_training_mode():
    model, inputs, targets = small_task()
    watch = Watch(model).eval()
    train_model(watch, inputs, targets, descent(watch), nn.CrossEntropyLoss(), 1, 5, progress=False)
    assert [training for _, training in watch.seen] == [True, True]
    assert all(module.training for module in watch.modules())


def test_one_hot_targets_train_like_classes():
    histories = []
    for encode in (lambda targets: targets, lambda targets: one_hot_encoding(targets, 3, torch.float64)):
        model, inputs, targets = small_task()
        histories.append(
            train_model(
                model, inputs, encode(targets), descent(model), nn.CrossEntropyLoss(), 3, 4, seeded(), progress=False
            )["loss"]
        )
    assert histories[0] == pytest.approx(histories[1], rel=1e-12)
    assert histories[0][-1] < histories[0][0]


def test_the_progress_bar_can_be_seen_and_switched_off(capsys):
    model, inputs, targets = small_task()
    arguments = (model, inputs, targets, descent(model), nn.CrossEntropyLoss(), 2, 4)
    train_model(*arguments, progress=False)
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""
    history = train_model(*arguments, name="small task")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "small task: epoch 2/2: 100%" in shown.err
    assert f"loss {history['loss'][-1]:.4f}" in shown.err
    assert "6/6" in shown.err


class Interrupt:
    """Stands in for a criterion or an optimizer's step, and ends its n-th call as Ctrl-C would."""

    def __init__(self, inner, after: int) -> None:
        self.inner, self.calls, self.after = inner, 0, after

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.after:
            raise KeyboardInterrupt
        return self.inner(*arguments)


@pytest.mark.parametrize("at", ["criterion", "step"])
@pytest.mark.parametrize("progress", [True, False])
@pytest.mark.parametrize("call", [1, 3, 5])  # of three an epoch
def test_ctrl_c_ends_training_and_leaves_the_model_usable(capsys, monkeypatch, at, progress, call):
    finished = (call - 1) // 3
    model, inputs, targets = small_task()
    optimizer, criterion = descent(model), nn.CrossEntropyLoss()
    with monkeypatch.context() as patch:
        if at == "step":
            patch.setattr(optimizer, "step", Interrupt(optimizer.step, call))
        interrupted = Interrupt(criterion, call) if at == "criterion" else criterion
        history = train_model(
            model, inputs, targets, optimizer, interrupted, 3, 4, seeded(), progress=progress, name="small task"
        )
    told = capsys.readouterr().err
    assert told.endswith(f"small task: training interrupted, {finished} of 3 epochs finished\n")
    assert not tqdm._instances  # the bar was closed
    assert all(parameter.grad_v is None for parameter in model.parameters())

    whole, inputs, targets = small_task()
    expected = train_model(whole, inputs, targets, descent(whole), criterion, 3, 4, seeded(), progress=False)["loss"]
    assert history["loss"] == expected[:finished]
    assert compute_nb_errors(model, inputs, targets) in range(11)
    following = train_model(model, inputs, targets, optimizer, criterion, 20, 4, seeded(), progress=False)["loss"]
    assert len(following) == 20
    assert following[-1] < expected[0]


def test_other_exceptions_come_through_and_close_the_bar(capsys):
    model, inputs, targets = small_task()

    def broken(*_):
        raise ZeroDivisionError("in the criterion")

    with pytest.raises(ZeroDivisionError, match="in the criterion"):
        train_model(model, inputs, targets, descent(model), broken, 1, 4)
    assert not tqdm._instances
    assert "interrupted" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"model": lambda x: x}, TypeError, "model is a function, expected an nn.Module"),
        ({"inputs": [[1.0, 2.0]]}, TypeError, "inputs is a list: write torch.as_tensor(inputs)"),
        ({"targets": None}, TypeError, "targets is a NoneType"),
        ({"targets": torch.zeros(9, dtype=torch.int64)}, ValueError, "10 inputs and 9 targets: give one target for"),
        ({"inputs": torch.zeros(0, 2)}, ValueError, "inputs is empty, of shape (0, 2): give at least one sample"),
        ({"targets": torch.tensor(1)}, ValueError, "targets is empty, of shape ()"),
        ({"epochs": 0}, ValueError, "epochs is 0: expected at least 1, as epochs=10"),
        ({"epochs": 1.5}, TypeError, "epochs is float 1.5: expected a whole number"),
        ({"epochs": True}, TypeError, "epochs is bool True"),
        ({"batch_size": 0}, ValueError, "batch_size is 0: expected at least 1"),
        ({"batch_size": "all"}, TypeError, "batch_size is str 'all'"),
        ({"optimizer": nn.CrossEntropyLoss()}, TypeError, "expected one with zero_grad() and step()"),
        ({"optimizer": optim.SGD(nn.Linear(2, 3).parameters())}, ValueError, "SGD updates no parameter of this Seq"),
        ({"criterion": lambda output, _: output.detach().sum()}, ValueError, "which nothing to be trained led to"),
        ({"criterion": lambda *_: 0.0}, ValueError, "the loss is float 0.0"),
        ({"criterion": nn.CrossEntropyLoss(reduction="none")}, RuntimeError, "only a scalar"),
    ],
)
def test_training_refuses(change, kind, message):
    model, inputs, targets = small_task()
    arguments = {
        **{"model": model, "inputs": inputs, "targets": targets, "optimizer": descent(model)},
        **{"criterion": nn.CrossEntropyLoss(), "epochs": 1, "batch_size": 4},
    }
    with raises(kind, message):
        train_model(**{**arguments, **change}, progress=False)


def test_training_refuses_what_has_nothing_to_train():
    model, inputs, targets = small_task()
    arguments = (model, inputs, targets, descent(model), nn.CrossEntropyLoss(), 1, 4)
    with nn.no_grad(), raises(ValueError, "leave nn.no_grad()"):
        train_model(*arguments, progress=False)
    model.freeze()
    with raises(ValueError, "unfreeze()"):
        train_model(*arguments, progress=False)
