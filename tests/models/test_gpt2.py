"""GPT-2: published files of every version, its losses, its initial weights, sampling."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import models, nn
from tests.models import twins
from tests.models.test_models import TINY_GPT2

V, T, C = TINY_GPT2.vocab_size, TINY_GPT2.n_positions, TINY_GPT2.n_embd


def published() -> dict[str, Tensor]:
    """As transformers writes it today."""
    return dict(twins.GPT2(TINY_GPT2).state_dict())


def of_openai() -> dict[str, Tensor]:
    """As the file of "gpt2" is: no prefix, no head, and the causal masks."""
    state = {name.removeprefix("transformer."): value for name, value in published().items()}
    del state["lm_head.weight"]
    for i in range(TINY_GPT2.n_layer):
        state[f"h.{i}.attn.bias"] = torch.ones(1, 1, T, T).tril()
    return state


def of_version_4() -> dict[str, Tensor]:
    """With the prefix, the head, the masks and what stood for minus infinity."""
    state = published()
    for i in range(TINY_GPT2.n_layer):
        state[f"transformer.h.{i}.attn.bias"] = torch.ones(1, 1, T, T, dtype=torch.bool).tril()
        state[f"transformer.h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    return state


@pytest.mark.parametrize("file", [published, of_openai, of_version_4])
def test_every_version_of_published_files_loads(file: Any) -> None:
    torch.manual_seed(3)
    model = models.GPT2(TINY_GPT2)
    assert model.load_published(file()) is model
    assert model.lm_head.weight is model.transformer.wte.weight
    torch.manual_seed(3)
    models.GPT2(TINY_GPT2)  # which `model` was, before the file's weights were drawn
    expected = published()
    assert model.state_dict().keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(model.state_dict()[name], value), name


def test_what_is_left_over_is_named() -> None:
    model = models.GPT2(TINY_GPT2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"unexpected: transformer\.score\.weight$"):
        model.load_published(of_openai() | {"score.weight": torch.zeros(2, C)})
    with pytest.raises(RuntimeError, match=r"unexpected: transformer\.h\.0\.crossattention\.bias$"):
        model.load_published(of_openai() | {"h.0.crossattention.bias": torch.zeros(1)})
    state = of_openai()
    del state["h.1.mlp.c_fc.bias"]
    with pytest.raises(RuntimeError, match=r"missing: transformer\.h\.1\.mlp\.c_fc\.bias$"):
        model.load_published(state)
    state = of_openai()
    del state["wte.weight"]
    with pytest.raises(RuntimeError, match=r"missing: transformer\.wte\.weight, lm_head\.weight$"):
        model.load_published(state)
    transposed = of_openai()
    transposed["h.0.attn.c_attn.weight"] = transposed["h.0.attn.c_attn.weight"].t()  # as a Linear has it
    with pytest.raises(RuntimeError, match=r"c_attn\.weight: has shape \(12, 36\), was given \(36, 12\)"):
        model.load_published(transposed)
    with pytest.raises(ValueError, match="transformer.ln_f.bias is there twice"):
        model.load_published(published() | {"ln_f.bias": torch.zeros(C)})
    with pytest.raises(ValueError, match="lm_head.weight and transformer.wte.weight differ"):
        model.load_published(published() | {"lm_head.weight": torch.zeros(V, C)})
    for name, value in model.state_dict().items():
        assert torch.equal(before[name], value), f"{name} was changed"


def test_the_loss_without_scores_is_the_loss_of_the_scores() -> None:
    model, other = models.GPT2(TINY_GPT2).double().eval(), models.GPT2(TINY_GPT2).double().eval()
    other.load_state_dict(model.state_dict())
    tokens, targets = torch.randint(V, (2, 3, T)).unbind()
    loss = nn.CrossEntropyLoss()(model(tokens).flatten(0, 1), targets.flatten())
    loss.backward()
    criterion = nn.LinearCrossEntropyLoss(C, V).double()
    criterion.linear.weight = other.transformer.wte.weight
    same = criterion(other.transformer(tokens).flatten(0, 1), targets.flatten())
    same.backward()
    torch.testing.assert_close(same.detach(), loss.detach(), rtol=1e-12, atol=1e-12)
    for (name, mine), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        close = {"rtol": 1e-10, "atol": 1e-12, "msg": lambda m, n=name: f"{n}: {m}"}
        torch.testing.assert_close(mine.grad_v, theirs.grad_v, **close)


def test_initial_weights() -> None:
    """Standard deviations over thousands of numbers, which err by about one in a hundred."""
    config = models.GPT2Config(vocab_size=300, n_positions=80, n_embd=64, n_layer=4, n_head=4)
    for name, parameter in models.GPT2(config).named_parameters():
        value = parameter.detach()
        if name.endswith("bias"):
            assert not value.any(), name
        elif ".ln_" in name:
            assert (value == 1).all(), name
        else:
            std = 0.02 / math.sqrt(2 * 4) if "c_proj" in name else 0.02
            assert abs(float(value.std()) / std - 1) < 0.06, name
            assert abs(float(value.mean())) < 0.06 * std, name


def test_a_model_continues_a_text() -> None:
    model = models.GPT2(TINY_GPT2).double().eval()
    start = torch.randint(V, (3, 5))
    expected = start
    for _ in range(6):  # past n_positions: then the last ones are seen
        scores = model(expected[:, -T:])[:, -1]
        expected = torch.cat([expected, scores.argmax(1, keepdim=True)], 1)
    found = model.generate(start, 6, temperature=0)
    assert type(found) is Tensor
    assert torch.equal(found, expected)
    assert torch.equal(model.generate(start, 6, temperature=1e-8), expected), "as cold as that, chance has no part"


def test_tokens_are_drawn_by_their_probabilities() -> None:
    model = models.GPT2(TINY_GPT2).double().eval()
    nn.init.normal_(model.transformer.ln_f.bias, std=20.0)  # so that probabilities differ
    start = torch.randint(V, (1, 3)).expand(4000, 3)
    generator = torch.Generator().manual_seed(4)
    drawn = model.generate(start, 1, temperature=0.5, generator=generator)[:, -1]
    again = model.generate(start, 1, temperature=0.5, generator=generator.manual_seed(4))[:, -1]
    assert torch.equal(drawn, again)
    probabilities = (model(start[:1])[0, -1].detach() / 0.5).softmax(0)
    assert probabilities.max() > 0.1
    frequencies = torch.bincount(drawn, minlength=V) / 4000
    assert (frequencies - probabilities).abs().max() < 0.03, "four standard deviations of 4000 draws"
