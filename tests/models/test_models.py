"""The models against their twins of `torch.nn`, and that each trains and traces.

With the same weights logits and gradients are the twin's to 1e-11 of the largest, where rounding is about 1e-15: what
is left is for batch norms of few values, which amplify it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import models, nn, optim
from modgrad.step import TrainingStep
from tests.models import twins

TINY_GPT2 = models.GPT2Config(vocab_size=17, n_positions=8, n_embd=12, n_layer=2, n_head=3)
TINY_VIT = 32, 8, 12, 2, 3  # image, patch, width, depth, heads


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], nn.Module]
    make_twin: Callable[[], torch.nn.Module]
    inputs: Callable[[], tuple[Tensor, ...]]  # a batch of 4
    same_seed: bool = True  # whether the same seed gives the twin's weights

    def __str__(self) -> str:
        return self.name


def images(*shape: int) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: (torch.randn(4, *shape, dtype=torch.float64),)


def tiny_vit() -> nn.Module:
    size, patch, dim, depth, heads = TINY_VIT
    return models.VisionTransformer(size, patch, embed_dim=dim, depth=depth, num_heads=heads)


def lstm(name: str, embedding: int, layers: int, tied: bool, state: bool) -> Case:
    def inputs() -> tuple[Tensor, ...]:
        start = [torch.randn(layers, 4, 6, dtype=torch.float64) for _ in range(2)] if state else []
        return torch.randint(11, (4, 5)), *start

    sizes = 11, embedding, 6, layers, 0.4, tied
    return Case(name, lambda: WithState(*sizes), lambda: twins.LSTMLanguageModel(*sizes), inputs)


class WithState(models.LSTMLanguageModel):
    """Takes the state as two inputs, so that every model here is called with tensors."""

    def forward(self, tokens: Any, *state: Any) -> Any:
        return super().forward(tokens, state or None)


def unet(name: str, bilinear: bool, height: int, width: int) -> Case:
    arguments = 3, 2, bilinear, 4
    make, make_twin = lambda: models.UNet(*arguments), lambda: twins.UNet(*arguments)
    return Case(name, make, make_twin, images(3, height, width))


CASES = [
    Case("MLP", lambda: models.MLP(6, 8, 7, 3), twins.MLP, images(6)),
    Case("LeNet", models.LeNet, twins.LeNet, images(1, 28, 28)),
    Case("LeNet-32", lambda: models.LeNet(3, padding=0), lambda: twins.LeNet(3, 0), images(3, 32, 32)),
    Case("ResNet-18", models.resnet18, lambda: twins.ResNet(twins.BasicBlock, [2, 2, 2, 2]), images(3, 32, 32)),
    Case("ResNet-34", models.resnet34, lambda: twins.ResNet(twins.BasicBlock, [3, 4, 6, 3]), images(3, 32, 32)),
    Case("ResNet-50", models.resnet50, lambda: twins.ResNet(twins.Bottleneck, [3, 4, 6, 3]), images(3, 32, 32)),
    Case(
        "GPT-2",
        lambda: models.GPT2(TINY_GPT2),
        lambda: twins.GPT2(TINY_GPT2),
        lambda: (torch.randint(17, (4, 8)),),
        same_seed=False,
    ),
    Case("ViT", tiny_vit, lambda: twins.VisionTransformer(*TINY_VIT), images(3, 32, 32)),
    lstm("LSTM", embedding=5, layers=2, tied=False, state=True),
    lstm("LSTM-tied", embedding=6, layers=1, tied=True, state=False),
    unet("UNet", bilinear=False, height=16, width=32),
    unet("UNet-odd", bilinear=False, height=19, width=37),
    unet("UNet-bilinear", bilinear=True, height=19, width=32),
]
LONG = ("ResNet-34", "ResNet-50", "ResNet, Bottleneck")  # which `make test-all` adds


SLOW_TO_TRACE = (*LONG, "ResNet", "ViT", "LSTM", "U-Net")  # their layers are traced by other tests too


def row(case: Any, long: tuple[str, ...] = LONG) -> Any:
    return pytest.param(case, id=str(case), marks=[pytest.mark.thorough] if str(case) in long else [])


every = pytest.mark.parametrize("case", [row(case) for case in CASES])


def tensors(x: Any) -> list[Any]:
    """Outputs, however deep in tuples."""
    return [t for part in x for t in tensors(part)] if isinstance(x, (tuple, list)) else [x]


def assert_near(mine: Any, theirs: Any, name: str) -> None:
    mine, theirs = mine.detach(), theirs.detach()
    tolerance = 1e-11 * max(float(theirs.abs().max()), 1e-3)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=tolerance, msg=lambda m: f"{name}: {m}")


@every
def test_logits_and_every_gradient_are_the_twins(case: Case) -> None:
    """In training: dropout draws the same numbers at the same places, and batch norm moves its statistics alike."""
    model, twin = case.make().double(), case.make_twin().double()
    assert list(model.state_dict()) == list(twin.state_dict())
    model.load_state_dict(twin.state_dict())
    x = case.inputs()
    torch.manual_seed(1)
    outputs = tensors(model(*x))
    torch.manual_seed(1)
    expected = tensors(twin(*x))
    assert len(outputs) == len(expected)
    loss: Any = 0.0
    twins_loss: Any = 0.0
    for i, (mine, theirs) in enumerate(zip(outputs, expected, strict=True)):
        assert_near(mine, theirs, f"output {i}")
        upstream = torch.randn_like(theirs)
        loss, twins_loss = loss + (mine * upstream).sum(), twins_loss + (theirs * upstream).sum()
    loss.backward()
    twins_loss.backward()
    parameters = dict(model.named_parameters())
    assert list(parameters) == [name for name, _ in twin.named_parameters()]
    for name, parameter in twin.named_parameters():
        assert parameter.grad is not None
        assert_near(parameters[name].grad_v, parameter.grad, name)
    for name, buffer in twin.named_buffers():
        assert_near(model.state_dict()[name], buffer, name)
    model.eval()
    with torch.no_grad():
        for mine, theirs in zip(tensors(model(*x)), tensors(evaluated(case, twin, x)), strict=True):
            assert_near(mine, theirs, "in evaluation")


def evaluated(case: Case, twin: torch.nn.Module, x: tuple[Tensor, ...]) -> Any:
    if case.name != "GPT-2":
        return twin.eval()(*x)
    still = twins.GPT2(models.GPT2Config(**{**vars(TINY_GPT2), "embd_pdrop": 0, "attn_pdrop": 0, "resid_pdrop": 0}))
    still.double().load_state_dict(twin.state_dict())
    return still(*x)


@pytest.mark.parametrize("case", [case for case in CASES if case.same_seed], ids=str)
def test_the_same_seed_gives_the_twins_weights(case: Case) -> None:
    torch.manual_seed(5)
    model = case.make()
    torch.manual_seed(5)
    for name, value in case.make_twin().state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


COUNTS = [
    ("LeNet", models.LeNet, 61_706),
    ("ResNet-18", models.resnet18, 11_689_512),
    ("ResNet-34", models.resnet34, 21_797_672),
    ("ResNet-50", models.resnet50, 25_557_032),
    ("ViT-Ti/16", models.vit_tiny_patch16_224, 5_717_416),
    ("U-Net", lambda: models.UNet(3, 2), 31_037_698),
    ("U-Net, bilinear", lambda: models.UNet(3, 2, bilinear=True), 17_263_042),
    ("gpt2", models.GPT2, 124_439_808),
    ("gpt2-medium", lambda: models.GPT2(models.GPT2_CONFIGS["gpt2-medium"]), 354_823_168),
    ("gpt2-large", lambda: models.GPT2(models.GPT2_CONFIGS["gpt2-large"]), 774_030_080),
    ("gpt2-xl", lambda: models.GPT2(models.GPT2_CONFIGS["gpt2-xl"]), 1_557_611_200),
]


@pytest.mark.parametrize(("make", "count"), [row[1:] for row in COUNTS], ids=[row[0] for row in COUNTS])
def test_the_full_size_has_the_published_number_of_parameters(make: Callable[[], nn.Module], count: int) -> None:
    with torch.device("meta"):  # shapes without values
        model = make()
    assert sum(parameter.numel() for parameter in model.parameters()) == count


# Names and shapes as they stand in published files.
PUBLISHED = {
    models.resnet18: {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.num_batches_tracked": (),
        "layer1.0.conv1.weight": (64, 64, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer2.0.downsample.1.running_var": (128,),
        "layer4.1.bn2.bias": (512,),
        "fc.weight": (1000, 512),
    },
    models.resnet50: {
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.2.conv1.weight": (64, 256, 1, 1),
        "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
        "fc.bias": (1000,),
    },
    models.vit_tiny_patch16_224: {
        "cls_token": (1, 1, 192),
        "pos_embed": (1, 197, 192),
        "patch_embed.proj.weight": (192, 3, 16, 16),
        "blocks.0.norm1.weight": (192,),
        "blocks.0.attn.qkv.weight": (576, 192),
        "blocks.0.attn.qkv.bias": (576,),
        "blocks.5.attn.proj.weight": (192, 192),
        "blocks.11.norm2.bias": (192,),
        "blocks.11.mlp.fc1.weight": (768, 192),
        "blocks.11.mlp.fc2.weight": (192, 768),
        "norm.weight": (192,),
        "head.weight": (1000, 192),
    },
    models.GPT2: {
        "transformer.wte.weight": (50257, 768),
        "transformer.wpe.weight": (1024, 768),
        "transformer.h.0.ln_1.weight": (768,),
        "transformer.h.0.attn.c_attn.weight": (768, 2304),
        "transformer.h.0.attn.c_attn.bias": (2304,),
        "transformer.h.0.attn.c_proj.weight": (768, 768),
        "transformer.h.11.ln_2.bias": (768,),
        "transformer.h.11.mlp.c_fc.weight": (768, 3072),
        "transformer.h.11.mlp.c_proj.weight": (3072, 768),
        "transformer.ln_f.weight": (768,),
        "lm_head.weight": (50257, 768),
    },
}
ENTRIES = {models.resnet18: 122, models.resnet50: 320, models.vit_tiny_patch16_224: 152, models.GPT2: 149}


@pytest.mark.parametrize("make", PUBLISHED, ids=lambda make: make.__name__)
def test_names_and_shapes_are_the_published_ones(make: Callable[[], nn.Module]) -> None:
    with torch.device("meta"):
        state = make().state_dict()
    assert len(state) == ENTRIES[make]
    for name, shape in PUBLISHED[make].items():
        assert state[name].shape == shape, name


class NextToken(nn.Module):
    """Cross entropy of a language model's scores, of any leading dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, scores: Any, targets: Any) -> Any:
        scores = scores[0] if isinstance(scores, tuple) else scores  # an LSTM also gives its state
        return self.criterion(scores.flatten(0, 1), targets.flatten())


def tiny_resnet(block: Any) -> nn.Module:
    return models.ResNet(block, [1, 1, 1, 1], num_classes=4)


Learning = tuple[Callable[[], nn.Module], Callable[[int], tuple[Tensor, Tensor]], Callable[[], nn.Module]]


def classified(classes: int, *shape: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    return lambda n: (torch.randn(n, *shape), torch.arange(n) % classes)


def text(n: int) -> tuple[Tensor, Tensor]:
    tokens = torch.arange(n)[:, None] + torch.arange(6)  # each sample counts upwards
    return tokens[:, :-1] % 7, tokens[:, 1:] % 7


def still_gpt2() -> nn.Module:
    return models.GPT2(models.GPT2Config(7, 8, 12, 1, 3, embd_pdrop=0, attn_pdrop=0, resid_pdrop=0))


LEARNING: dict[str, Learning] = {
    "MLP": (lambda: models.MLP(6, 8, 4), classified(4, 6), nn.CrossEntropyLoss),
    "LeNet": (models.LeNet, classified(4, 1, 28, 28), nn.CrossEntropyLoss),
    "ResNet": (lambda: tiny_resnet(models.BasicBlock), classified(4, 3, 32, 32), nn.CrossEntropyLoss),
    "ResNet, Bottleneck": (lambda: tiny_resnet(models.Bottleneck), classified(4, 3, 32, 32), nn.CrossEntropyLoss),
    "GPT-2": (still_gpt2, text, NextToken),
    "ViT": (
        lambda: models.VisionTransformer(32, 8, num_classes=4, embed_dim=12, depth=1),
        classified(4, 3, 32, 32),
        nn.CrossEntropyLoss,
    ),
    "LSTM": (lambda: models.LSTMLanguageModel(7, 32, 32, 1, dropout=0.0), text, NextToken),
    "U-Net": (
        lambda: models.UNet(3, 4, width=2),
        lambda n: (torch.randn(n, 3, 16, 16), torch.randint(4, (n, 16, 16))),
        nn.CrossEntropyLoss,
    ),
}


def step_of(name: str, optimizer: Callable[..., optim.Optimizer]) -> TrainingStep:
    make, _, criterion = LEARNING[name]
    torch.manual_seed(0)
    model = make()
    return TrainingStep(model, criterion(), optimizer(model.parameters(), lr=0.01))


@pytest.mark.parametrize("name", [row(name) for name in LEARNING])
def test_trains(name: str) -> None:
    step, batch = step_of(name, optim.Adam), LEARNING[name][1](6)
    losses = [float(step(*batch)) for _ in range(8)]
    assert losses[-1] < 0.95 * losses[0], losses
    assert all(torch.isfinite(p.detach()).all() for p in step.model.parameters())


@pytest.mark.parametrize("name", [row(name, SLOW_TO_TRACE) for name in LEARNING])
def test_traces(name: str) -> None:
    """One program, which does what the step does, at other batch sizes too."""
    step = step_of(name, optim.SGD)
    step.model.double()
    step.trace(*as_double(LEARNING[name][1](6)))
    assert step.program is not None
    assert step.program.dynamic
    for size in (6, 5):
        batch = as_double(LEARNING[name][1](size))
        state, loss = step.program(copy.deepcopy(step.state), batch)
        torch.testing.assert_close(loss, step(*batch), rtol=1e-10, atol=1e-10)
        for parameter, value in step.state["parameters"].items():
            torch.testing.assert_close(state["parameters"][parameter], value, rtol=1e-8, atol=1e-8)


def as_double(batch: tuple[Tensor, Tensor]) -> tuple[Any, ...]:
    return tuple(x.double() if x.is_floating_point() else x for x in batch)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"MLP\(3,\): expected the widths of the input and the output"):
        models.MLP(3)
    with pytest.raises(ValueError, match="n_embd must be a multiple of n_head"):
        models.GPT2(models.GPT2Config(n_embd=10, n_head=3))
    with pytest.raises(ValueError, match=r"given 9 tokens in a row, and sees n_positions=8: write tokens\[:, -8:\]"):
        models.GPT2(TINY_GPT2)(torch.zeros(1, 9, dtype=torch.int64))
    with pytest.raises(ValueError, match="img_size=30 must be a multiple of patch_size=16"):
        models.VisionTransformer(30)
    with pytest.raises(ValueError, match=r"img_size=32\) was given an input of shape \(1, 3, 32, 40\)"):
        tiny_vit()(torch.zeros(1, 3, 32, 40))
    with pytest.raises(ValueError, match="embedding_dim=4 and hidden_size=5 must be the same"):
        models.LSTMLanguageModel(3, 4, 5, tie_weights=True)


def test_a_text_in_pieces_is_the_text() -> None:
    """What the LSTM language model's state is for."""
    model = models.LSTMLanguageModel(11, 4, 6).double().eval()
    tokens = torch.randint(11, (2, 9))
    whole, last = model(tokens)
    first, state = model(tokens[:, :4])
    second, state = model(tokens[:, 4:], tuple(s.detach() for s in state))
    torch.testing.assert_close(torch.cat([first, second], 1).detach(), whole.detach(), rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(state, last, strict=True):
        torch.testing.assert_close(mine.detach(), theirs.detach(), rtol=1e-12, atol=1e-12)
