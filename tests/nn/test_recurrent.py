"""LSTM beyond the contract: its kernel in float32, half precision, dropout, errors, a step that is traced."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import functional, nn
from modgrad.graph import Randomness
from modgrad.graph.tracing import Tracing, substituted


def pair(*args: Any, dtype: torch.dtype = torch.float64, **options: Any) -> tuple[nn.LSTM, torch.nn.LSTM]:
    mine, twin = nn.LSTM(*args, **options).to(dtype), torch.nn.LSTM(*args, **options).to(dtype)
    mine.load_state_dict(twin.state_dict())
    return mine, twin


def trained(layer: Any, input: Tensor, which: int | None = None) -> list[Tensor | None]:
    """Outputs and gradients, with upstream gradients of all outputs or of one."""
    torch.manual_seed(7)
    x = nn.Variable(input.clone()) if isinstance(layer, nn.LSTM) else input.clone().requires_grad_()
    output, (h_n, c_n) = layer(x)
    torch.manual_seed(8)
    loss: Any = 0
    for i, y in enumerate((output, h_n, c_n)):
        upstream = torch.randn(y.shape, dtype=torch.float64).to(y.dtype)
        if which in (None, i):
            loss = (y * upstream).sum() + loss
    loss.backward()
    return [output.detach(), h_n.detach(), c_n.detach(), x.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("which", [None, 0, 1, 2])
@pytest.mark.parametrize("formulas", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"num_layers": 2, "bidirectional": True, "batch_first": True}], ids=str
)
def test_in_float32_as_pytorch(options: dict[str, Any], formulas: bool, which: int | None) -> None:
    mine, twin = pair(3, 4, dtype=torch.float32, **options)
    x = torch.randn(6, 5, 3)
    expected = trained(twin, x, which)
    if formulas:
        with functional.formulas():
            got = trained(mine, x, which)
    else:
        got = trained(mine, x, which)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_formulas_go_back_where_the_kernel_came_forward() -> None:
    mine, twin = pair(3, 4, dtype=torch.float32, bidirectional=True)
    x = torch.randn(6, 5, 3)
    output, _ = mine(x)
    with functional.formulas():
        output.sum().backward()
    twin(x)[0].sum().backward()
    for p, q in zip(mine.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad_v, q.grad)


def test_half_precision_is_as_near_to_the_truth_as_pytorchs() -> None:
    exact, _ = pair(8, 16)
    x = torch.randn(12, 4, 8).bfloat16()
    mine, twin = nn.LSTM(8, 16).bfloat16(), torch.nn.LSTM(8, 16).bfloat16()
    for layer in (mine, twin):
        layer.load_state_dict(exact.state_dict())
    exact.load_state_dict(mine.state_dict())
    for a, b, truth in zip(trained(mine, x), trained(twin, x), trained(exact, x.double()), strict=True):
        assert a is not None
        assert b is not None
        assert a.dtype is torch.bfloat16
        assert (a - truth).abs().mean() <= 1.3 * (b - truth).abs().mean()


@pytest.mark.parametrize("p", [0.4, 1.0])
def test_dropout_between_layers_drops_as_pytorch_does_for_the_same_seed(p: float) -> None:
    mine, twin = pair(3, 4, 3, dropout=p)
    x = torch.randn(6, 5, 3, dtype=torch.float64)
    for training in (True, False):
        mine.zero_grad()
        twin.zero_grad()
        for a, b in zip(trained(mine.train(training), x), trained(twin.train(training), x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_state_goes_on_from_call_to_call() -> None:
    """A sequence in two halves, the state of the first handed to the second: gradients go through it."""
    mine, twin = pair(3, 4, 2)
    x = torch.randn(6, 5, 3, dtype=torch.float64)
    first, state = mine(x[:3])
    second, _ = mine(x[3:], state)
    torch.cat([first, second]).square().sum().backward()
    output, _ = twin(x)
    output.square().sum().backward()
    for p, q in zip(mine.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad_v, q.grad)


def test_repr_and_names_are_pytorchs() -> None:
    for options in ({}, {"num_layers": 2, "bias": False, "batch_first": True, "dropout": 0.5, "bidirectional": True}):
        mine, twin = pair(3, 4, **options)
        assert repr(mine) == repr(twin)
        assert list(mine.state_dict()) == list(twin.state_dict())
        mine.flatten_parameters()


def test_arguments_that_are_refused() -> None:
    for name in ("input_size", "hidden_size", "num_layers"):
        with pytest.raises(ValueError, match=f"{name}=0"):
            nn.LSTM(**({"input_size": 3, "hidden_size": 4} | {name: 0}))
    with pytest.raises(TypeError, match="batch_first=1"):
        nn.LSTM(3, 4, batch_first=1)
    with pytest.raises(ValueError, match="dropout=2"):
        nn.LSTM(3, 4, 2, dropout=2)
    with pytest.raises(ValueError, match=r"put an nn.Linear\(hidden_size, proj_size\) after"):
        nn.LSTM(3, 4, proj_size=2)
    with pytest.warns(UserWarning, match="drops nothing"):
        nn.LSTM(3, 4, dropout=0.5)


def test_inputs_that_are_refused() -> None:
    layer = nn.LSTM(3, 4)
    x, state = torch.randn(5, 2, 3), torch.zeros(1, 2, 4)
    with pytest.raises(TypeError, match="PackedSequence"):
        layer(torch.nn.utils.rnn.pack_sequence([torch.randn(5, 3), torch.randn(2, 3)]))
    with pytest.raises(ValueError, match=r"expected an input of shape \(T, N, 3\), or \(T, 3\)"):
        layer(torch.randn(5, 2, 4))
    with pytest.raises(ValueError, match=r"shape \(N, T, 3\)"):
        nn.LSTM(3, 4, batch_first=True)(torch.randn(5))
    with pytest.raises(TypeError, match=r"write input.to\(torch.float32\)"):
        layer(x.double())
    for empty in (x[:0], x[:0, 0]):
        with pytest.raises(ValueError, match="at least one step"):
            layer(empty)
    with pytest.raises(TypeError, match=r"expected the pair \(h_0, c_0\)"):
        layer(x, state)
    with pytest.raises(ValueError, match=r"c_0 is .*: expected shape \(1, 2, 4\)"):
        layer(x, (state, state[:, :1]))
    with pytest.raises(ValueError, match=r"h_0 is .*: expected shape \(1, 4\)"):
        layer(x[:, 0], (state, state))


def test_a_step_exports_with_a_free_batch_size() -> None:
    model = nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True)

    class Step(torch.nn.Module):
        def forward(self, state: dict[str, Tensor], x: Tensor) -> Any:
            with Tracing(), substituted(model, state) as parameters:
                output, (h_n, c_n) = model(x)
                loss = output.square().sum() + h_n.sum() + c_n.sum()
                loss.backward()
                return [loss, *(p.grad_v for p in parameters.values())]

    state = {name: value.clone() for name, value in model.state_dict().items()}
    shapes = (dict.fromkeys(state), {0: torch.export.Dim("batch")})
    program = torch.export.export(Step(), (state, torch.randn(3, 5, 3)), dynamic_shapes=shapes, strict=False)
    for size in (2, 7):
        x = torch.randn(size, 5, 3)
        model.zero_grad()
        output, (h_n, c_n) = model(x)
        loss = output.square().sum() + h_n.sum() + c_n.sum()
        loss.backward()
        expected = [loss.detach(), *(p.grad_v for p in model.parameters())]
        torch.testing.assert_close(program.module()(state, x), expected)


def test_dropout_is_drawn_from_the_open_randomness() -> None:
    layer, x = nn.LSTM(3, 4, 3, dropout=0.5), torch.randn(6, 5, 3)
    outputs = []
    for seed in (1, 1, 2):
        with Randomness(torch.tensor([seed, 0])):
            outputs.append(layer(x)[0].detach())
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
