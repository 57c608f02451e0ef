"""Attention beyond the contract: queries that see nothing, dropout, precision, memory, a whole transformer block."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from modgrad import nn
from modgrad.graph import Randomness
from modgrad.graph.tracing import Tracing, substituted

attend = nn.operators.scaled_dot_product_attention


def three(*shape: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.randn(shape, dtype=torch.float64).to(dtype) for _ in range(3)]


def both(tensors: list[Tensor], use: Any) -> tuple[list[Any], list[Any]]:
    """Output and gradients of `use`, by modgrad and by PyTorch."""
    results = []
    for leaves in ([nn.Variable(x.clone()) for x in tensors], [x.clone().requires_grad_() for x in tensors]):
        torch.manual_seed(7)
        output = use(*leaves)
        torch.manual_seed(8)
        output.backward(torch.randn(output.shape, dtype=torch.float64).to(output.dtype))
        results.append([output.detach(), *(x.grad for x in leaves)])
    return results[0], results[1]


@pytest.mark.parametrize("width", [4, 6])
@pytest.mark.parametrize("boolean", [True, False])
def test_a_query_that_may_look_at_nothing_gets_zeros(width: int, boolean: bool) -> None:
    visible = torch.rand(5, 5) > 0.3
    visible[2] = False
    mask = visible if boolean else torch.zeros(5, 5, dtype=torch.float64).masked_fill(~visible, -math.inf)
    q, k, _ = three(2, 3, 5, 4)
    v = torch.randn(2, 3, 5, width, dtype=torch.float64)
    mine, theirs = both([q, k, v], lambda *x: F.scaled_dot_product_attention(*x, attn_mask=mask))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    assert not mine[0][:, :, 2].any()
    assert not mine[1][:, :, 2].any()


def test_a_mask_of_one_dimension() -> None:
    """PyTorch's kernel refuses it, PyTorch's formula takes it."""
    q, k, v = three(2, 3, 5, 4)
    visible = torch.tensor([True, False, True, True, False])
    torch.testing.assert_close(attend(q, k, v, visible), attend(q, k, v, visible.expand(5, 5)))


@pytest.mark.parametrize("scale", [-0.5, 0.0])
def test_scales_that_pytorchs_kernel_gives_nan_for(scale: float) -> None:
    q, k, v = three(2, 3, 5, 4)
    hidden = torch.ones(5, 5).triu(1).bool()
    expected = (q @ k.mT * scale).masked_fill(hidden, -math.inf).softmax(-1) @ v
    torch.testing.assert_close(attend(q, k, v, is_causal=True, scale=scale), expected)


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_dropout_drops_as_pytorch_does_for_the_same_seed(p: float) -> None:
    mine, theirs = both(
        three(2, 3, 5, 4), lambda *x: F.scaled_dot_product_attention(*x, dropout_p=p, is_causal=True, scale=0.7)
    )
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    assert mine[0].any() == (p < 1)


def test_dropout_of_scores_that_broadcast() -> None:
    """A key of one batch for all, grouped heads, a mask with a dimension more: each score is dropped by itself."""
    q, k, v = torch.ones(2, 4, 5, 3), torch.ones(1, 2, 6, 3), torch.ones(1, 2, 6, 3)
    call, _ = attend(nn.Variable(q), k, v, dropout_p=0.5, enable_gqa=True)._source
    assert call.saved[-1].shape == (2, 4, 5, 6)
    call, _ = attend(nn.Variable(q), k[:, :1], v[:, :1], torch.zeros(3, 1, 1, 1, 6), dropout_p=0.5)._source
    assert call.saved[-1].shape == (3, 2, 4, 5, 6)


@pytest.mark.parametrize("options", [{}, {"attn_mask": True}, {"enable_gqa": True}, {"dropout_p": 0.2}], ids=str)
def test_half_precision_is_as_near_to_the_truth_as_pytorchs(options: dict[str, Any]) -> None:
    q, k, v = three(2, 4, 16, 8, dtype=torch.bfloat16)
    if options.get("enable_gqa"):
        k, v = k[:, :2], v[:, :2]
    if options.get("attn_mask"):
        options = {"attn_mask": torch.randn(16, 16)}
    exact, _ = both([x.double() for x in (q, k, v)], lambda *x: F.scaled_dot_product_attention(*x, **options))
    mine, theirs = both([q, k, v], lambda *x: F.scaled_dot_product_attention(*x, **options))
    for a, b, truth in zip(mine, theirs, exact, strict=True):  # whose kernels round in other places
        assert a.dtype is torch.bfloat16
        error = (a - truth).abs().mean()
        assert error <= 1.3 * (b - truth).abs().mean()
        assert error < 0.01 * truth.abs().mean()


def test_a_bias_gets_its_gradient_alone() -> None:
    q, k, v = three(2, 3, 5, 4)
    bias = nn.Variable(torch.zeros(5, 5, dtype=torch.float64))
    attend(q, k, v, bias, is_causal=True).square().sum().backward()
    twin = torch.zeros(5, 5, dtype=torch.float64).requires_grad_()
    hidden = torch.ones(5, 5).triu(1).bool()
    (q @ k.mT / 2 + twin).masked_fill(hidden, -math.inf).softmax(-1).matmul(v).square().sum().backward()
    torch.testing.assert_close(bias.grad_v, twin.grad)


def test_no_matrix_of_all_pairs_is_kept() -> None:
    x = [nn.Variable(x) for x in three(2, 3, 64, 4)]
    (call, _) = attend(*x, is_causal=True)._source
    assert max(t.numel() for t in call.saved if t is not None) == 2 * 3 * 64 * 4


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (three(2, 3, 5, 4)[:2] + three(2, 3, 6, 4)[:1], {}, ValueError, "key and value in the one before it"),
        ([torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 4)], {}, ValueError, "agree in the last dimension"),
        ([torch.ones(3)] * 3, {}, ValueError, r"expected query \(..., L, E\)"),
        ([torch.ones(2, 3), torch.ones(2, 3).double(), torch.ones(2, 3)], {}, TypeError, r"write .to\(query.dtype\)"),
        ([torch.ones(2, 3)] * 3, {"dropout_p": 1.5}, ValueError, "from 0 to 1"),
        ([torch.ones(2, 3)] * 3, {"enable_gqa": True}, ValueError, "must divide"),
        (
            [torch.ones(2, 3, 2, 4), *[torch.ones(2, 2, 2, 4)] * 2],
            {"enable_gqa": True},
            ValueError,
            "must divide",
        ),
        ([torch.ones(2, 3)] * 3, {"attn_mask": torch.ones(2, 2).long()}, TypeError, r"attn_mask.bool\(\)"),
    ],
)
def test_what_does_not_belong_together(arguments: Any, options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        attend(*arguments, **options)


class Block(nn.Module):
    """What a GPT does with tensors, as nanoGPT writes it."""

    def __init__(self, width: int = 8, heads: int = 2, length: int = 6) -> None:
        super().__init__()
        self.heads = heads
        self.token = nn.Parameter(torch.randn(11, width))
        self.position = nn.Parameter(torch.randn(length, width))
        self.attend = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.head = nn.Linear(width, 11, bias=False)

    def forward(self, tokens: Tensor) -> Any:
        B, T = tokens.shape
        x = self.token[tokens] + self.position[torch.arange(T, device=tokens.device)]  # (B, T, C)
        C = x.shape[-1]
        q, k, v = self.attend(x).split(C, dim=2)
        q, k, v = (t.view(B, T, self.heads, C // self.heads).transpose(1, 2) for t in (q, k, v))  # (B, H, T, C / H)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(y.transpose(1, 2).contiguous().view(B, T, C))
        return self.head(x)[:, -1]


def loss_and_gradients(model: Any, tokens: Tensor, targets: Tensor) -> tuple[Any, list[Any]]:
    model.zero_grad()
    loss = F.cross_entropy(model(tokens), targets)
    loss.backward()
    return loss.detach(), [p.grad for p in model.parameters()]


def test_a_transformer_block_is_pytorchs() -> None:
    model = Block()

    class Twin(torch.nn.Module):
        forward = Block.forward

        def __init__(self) -> None:
            super().__init__()
            self.heads = 2
            self.token = torch.nn.Parameter(torch.empty(11, 8))
            self.position = torch.nn.Parameter(torch.empty(6, 8))
            self.attend = torch.nn.Linear(8, 24)
            self.project = torch.nn.Linear(8, 8)
            self.head = torch.nn.Linear(8, 11, bias=False)

    twin = Twin()
    twin.load_state_dict(model.state_dict())
    tokens, targets = torch.randint(0, 11, (3, 5)), torch.randint(0, 11, (3,))
    mine, theirs = loss_and_gradients(model, tokens, targets), loss_and_gradients(twin, tokens, targets)
    torch.testing.assert_close(mine, theirs)


def test_splitting_goes_back_by_one_cat() -> None:
    """The three pieces' gradients are put together once, and no zeros are added up."""
    model = Block()

    def step(state: dict[str, Tensor], tokens: Tensor) -> Any:
        with Tracing(), substituted(model, state) as parameters:
            model(tokens).sum().backward()
            return [p.grad_v for p in parameters.values()]

    program = make_fx(step, tracing_mode="fake")(model.state_dict(), torch.zeros(2, 5, dtype=torch.long))
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert targets.count("aten.cat.default") == 1
    assert targets.count("aten._scaled_dot_product_flash_attention_for_cpu_backward.default") == 1


def test_a_transformer_block_exports_with_a_free_batch_size() -> None:
    model = Block()

    class Step(torch.nn.Module):
        def forward(self, state: dict[str, Tensor], tokens: Tensor, targets: Tensor) -> Any:
            with Tracing(), substituted(model, state) as parameters:
                loss = F.cross_entropy(model(tokens), targets)
                loss.backward()
                return loss, [p.grad_v for p in parameters.values()]

    state = {name: value.clone() for name, value in model.state_dict().items()}
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        Step(),
        (state, torch.randint(0, 11, (3, 5)), torch.randint(0, 11, (3,))),
        dynamic_shapes=(dict.fromkeys(state), {0: batch}, {0: batch}),
        strict=False,
    )
    for size in (2, 7):
        tokens, targets = torch.randint(0, 11, (size, 5)), torch.randint(0, 11, (size,))
        torch.testing.assert_close(program.module()(state, tokens, targets), loss_and_gradients(model, tokens, targets))


def test_dropout_is_drawn_from_the_open_randomness() -> None:
    x = torch.randn(2, 3, 5, 4)
    before = torch.get_rng_state()
    drawings = []
    for seed in (1, 1, 2):
        with Randomness(torch.tensor([seed, 0])):
            drawings.append(attend(x, x, x, dropout_p=0.5))
    assert torch.equal(drawings[0], drawings[1])
    assert not torch.equal(drawings[0], drawings[2])
    assert torch.equal(torch.get_rng_state(), before)
