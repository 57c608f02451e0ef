"""PyTorch's modules as modgrad's: the same values, the same gradients, or a refusal that names what and why."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modgrad import interop, nn, optim
from modgrad.step import TrainingStep
from tests.interop import theirs
from tests.interop.compared import N, assert_same_model, image, row, tokens

MODELS: dict[str, tuple[Callable[[], Any], Callable[[], tuple[Tensor, ...]]]] = {
    "resnet": (theirs.ResNet, lambda: (image(),)),
    "resnet with groups": (lambda: theirs.ResNet(lambda width: N.GroupNorm(2, width)), lambda: (image(),)),
    "densenet": (theirs.DenseNet, lambda: (image(),)),
    "gpt": (lambda: theirs.GPT(flash=True), lambda: (tokens(), tokens())),
    "gpt without tied weights": (lambda: theirs.GPT(flash=False, tied=False), lambda: (tokens(), tokens())),
    "block": (lambda: theirs.Block(8, 6, flash=False), lambda: (row(2, 6, 8),)),
    "lstm": (theirs.Tagger, lambda: (tokens(),)),
    "siamese": (theirs.Siamese, lambda: (row(4, 3), row(4, 3), torch.tensor([1, -1, 1, -1]))),
    "encoder": (
        lambda: N.TransformerEncoder(N.TransformerEncoderLayer(8, 2, 16, norm_first=True), 2, N.LayerNorm(8)),
        lambda: (row(5, 3, 8),),
    ),
    "transformer": (lambda: N.Transformer(8, 2, 1, 1, 16, activation=F.gelu), lambda: (row(5, 2, 8), row(4, 2, 8))),
}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, training: bool) -> None:
    make, inputs = MODELS[name]
    twin = make().double().train(training)
    drawn = torch.get_rng_state()
    mine = interop.from_torch(twin)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert repr(mine) == repr(twin).replace("NonDynamicallyQuantizableLinear", "Linear")
    assert [path for path, _ in mine.named_modules()] == [path for path, _ in twin.named_modules()]
    assert [m.training for m in mine.modules()] == [m.training for m in twin.modules()]
    assert list(mine.state_dict()) == list(twin.state_dict())
    assert_same_model(twin, mine, *inputs())
    twin.load_state_dict(mine.state_dict())


def test_attributes_that_were_changed_since() -> None:
    twin = N.Sequential(N.Conv2d(2, 3, 3), N.BatchNorm2d(3), N.Dropout(0.5), N.LeakyReLU(), N.Upsample(scale_factor=2))
    twin[0].stride, twin[0].padding = (2, 2), (1, 1)
    twin[1].eps, twin[1].momentum = 0.1, None
    twin[2].p = 0.0
    twin[3].negative_slope = -0.5
    twin[4].scale_factor = 3.0
    twin[3].note = "mine"
    twin.double()
    mine = interop.from_torch(twin)
    assert mine[3].note == "mine"
    assert_same_model(twin, mine, row(2, 2, 7, 7))


def test_what_is_tied_shared_frozen() -> None:
    shared = N.Linear(3, 3)
    twin = N.Sequential(shared, N.Linear(3, 3), shared, N.ModuleList([N.Linear(3, 3)]), N.BatchNorm1d(3).eval())
    twin[1].weight = shared.weight
    twin[1].bias.requires_grad_(False)
    twin[3][0].weight.requires_grad_(False)
    twin.register_buffer("mean", torch.zeros(2), persistent=False)
    twin[3].mean = twin.mean
    mine = interop.from_torch(twin)
    assert mine[0] is mine[2]
    assert mine[1].weight is mine[0].weight
    assert [p.grad_f for p in mine.parameters()] == [p.requires_grad for p in twin.parameters()]
    assert mine[3].mean is mine.mean
    assert "mean" not in mine.state_dict()
    assert [m.training for m in mine.modules()] == [m.training for m in twin.modules()]


def test_values_are_copied_or_shared() -> None:
    twin = N.Sequential(N.Conv2d(2, 3, 3), N.BatchNorm2d(3)).to(memory_format=torch.channels_last)
    for copied in (True, False):
        mine = interop.from_torch(twin, copy=copied)
        for name, value in twin.state_dict().items():
            other = mine.state_dict()[name]
            assert other.stride() == value.stride()
            assert (other.data_ptr() == value.data_ptr()) is not copied
        for name, value in interop.to_torch(mine, copy=copied).state_dict().items():
            assert (mine.state_dict()[name].data_ptr() == value.data_ptr()) is not copied
    assert not any(map(torch.Tensor.requires_grad.__get__, mine.parameters()))


def test_a_converted_model_is_trained_as_the_original() -> None:
    twin = theirs.ResNet().double()
    mine = interop.from_torch(twin)
    theirs_step = torch.optim.SGD(twin.parameters(), 0.1, momentum=0.9)
    step = optim.SGD(mine.parameters(), 0.1, momentum=0.9)
    target = torch.tensor([1, 3])
    for _ in range(4):
        x = image()
        theirs_step.zero_grad()
        F.cross_entropy(twin(x), target).backward()
        theirs_step.step()
        step.zero_grad()
        F.cross_entropy(mine(x), target).backward()
        step.step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(mine.state_dict()[name], value, rtol=1e-6, atol=1e-8)


def test_a_converted_model_as_one_program() -> None:
    mine = interop.from_torch(theirs.ResNet().double())
    other = copy.deepcopy(mine)
    assert type(other) is type(mine)
    x, target = image(), torch.tensor([1, 3])
    step = TrainingStep(mine, nn.CrossEntropyLoss(), optim.SGD(mine.parameters(), 0.1))
    again = TrainingStep(other, nn.CrossEntropyLoss(), optim.SGD(other.parameters(), 0.1))
    again.trace(x, target)
    assert again.program is not None
    assert "layers.0.relu (ReLU).forward" in str(again.program)
    state = again.state
    for _ in range(2):
        loss = step(x, target)
        state, found = again.program(state, (x, target))
        torch.testing.assert_close(found, loss.detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_pytorch_and_what_it_recomputes() -> None:
    from torch.utils.checkpoint import checkpoint

    class Again(N.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = N.Sequential(N.Linear(4, 4), N.Tanh())

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.body, x, use_reentrant=False)

    twin = Again().double()
    assert_same_model(twin, interop.from_torch(twin), row(3, 4))


def test_warnings_are_not_hidden() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        interop.from_torch(N.Sequential(N.Linear(2, 2), N.ReLU(inplace=True)))
    assert told == []
