"""Recurrent layers beyond the contract: kernels in float32, half precision, dropout, errors, a step that is traced."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import functional, nn
from modgrad.graph import Randomness
from modgrad.graph.tracing import Tracing, substituted

KINDS = ("LSTM", "GRU", "RNN")


def pair(*args: Any, kind: str = "LSTM", dtype: torch.dtype = torch.float64, **options: Any) -> tuple[Any, Any]:
    mine, twin = getattr(nn, kind)(*args, **options).to(dtype), getattr(torch.nn, kind)(*args, **options).to(dtype)
    mine.load_state_dict(twin.state_dict())
    return mine, twin


def trained(layer: Any, input: Tensor, which: int | None = None) -> list[Tensor | None]:
    """Outputs and gradients, with upstream gradients of all outputs or of one."""
    torch.manual_seed(7)
    x = nn.Variable(input.clone()) if isinstance(layer, nn.Module) else input.clone().requires_grad_()
    output, last = layer(x)
    outputs = output, *(last if isinstance(last, tuple) else (last,))
    torch.manual_seed(8)
    loss: Any = 0
    for i, y in enumerate(outputs):
        upstream = torch.randn(y.shape, dtype=torch.float64).to(y.dtype)
        if which in (None, i):
            loss = (y * upstream).sum() + loss
    loss.backward()
    return [*(y.detach() for y in outputs), x.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # says PyTorch of itself
@pytest.mark.parametrize("which", [None, 0, 1, 2])
@pytest.mark.parametrize("formulas", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"num_layers": 2, "bidirectional": True, "batch_first": True},
        {"proj_size": 2},
        {"kind": "GRU", "bidirectional": True},
        {"kind": "RNN", "bidirectional": True},
        {"kind": "RNN", "nonlinearity": "relu"},
    ],
    ids=str,
)
def test_in_float32_as_pytorch(options: dict[str, Any], formulas: bool, which: int | None) -> None:
    if which == 2 and "kind" in options:
        return  # which have no third output
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


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_as_near_to_the_truth_as_pytorchs(kind: str) -> None:
    errors: Any = {}
    for seed in range(8):  # as rounding has luck in single cases
        torch.manual_seed(seed)
        exact, _ = pair(8, 16, kind=kind)
        x = torch.randn(12, 4, 8).bfloat16()
        mine, twin = getattr(nn, kind)(8, 16).bfloat16(), getattr(torch.nn, kind)(8, 16).bfloat16()
        for layer in (mine, twin):
            layer.load_state_dict(exact.state_dict())
        exact.load_state_dict(mine.state_dict())
        results = zip(trained(mine, x), trained(twin, x), trained(exact, x.double()), strict=True)
        for i, (a, b, truth) in enumerate(results):
            assert a is not None
            assert b is not None
            assert a.dtype is torch.bfloat16
            error, of_twin = errors.get(i, (0, 0))
            errors[i] = error + (a - truth).abs().mean(), of_twin + (b - truth).abs().mean()
    assert all(error <= 1.15 * of_twin for error, of_twin in errors.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [0.4, 1.0])
def test_dropout_between_layers_drops_as_pytorch_does_for_the_same_seed(p: float, kind: str) -> None:
    mine, twin = pair(3, 4, 3, kind=kind, dropout=p)
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


@pytest.mark.parametrize("kind", KINDS)
def test_repr_names_and_first_values_are_pytorchs(kind: str) -> None:
    many = {"num_layers": 2, "bias": False, "batch_first": True, "dropout": 0.5, "bidirectional": True}
    for options in ({}, many, {"proj_size": 2, "num_layers": 2} if kind == "LSTM" else {"bidirectional": True}):
        layers: list[Any] = []
        for library in (nn, torch.nn):
            torch.manual_seed(5)
            layers.append(getattr(library, kind)(3, 4, **options))
        mine, twin = layers
        assert repr(mine) == repr(twin)
        assert list(mine.state_dict()) == list(twin.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), twin.parameters(), strict=True))
        assert [len(weights) for weights in mine.all_weights] == [len(weights) for weights in twin.all_weights]
        mine.flatten_parameters()


def test_arguments_that_are_refused() -> None:
    for name in ("input_size", "hidden_size", "num_layers"):
        with pytest.raises(ValueError, match=f"{name}=0"):
            nn.LSTM(**({"input_size": 3, "hidden_size": 4} | {name: 0}))
    with pytest.raises(TypeError, match="batch_first=1"):
        nn.LSTM(3, 4, batch_first=1)
    with pytest.raises(ValueError, match="dropout=2"):
        nn.LSTM(3, 4, 2, dropout=2)
    for size in (-1, 4):
        with pytest.raises(ValueError, match=r"expected a number from 0, for none, to below hidden_size=4"):
            nn.LSTM(3, 4, proj_size=size)
    with pytest.raises(ValueError, match="only an LSTM has a projection"):
        nn.RNNBase("GRU", 3, 4, proj_size=2)
    with pytest.raises(ValueError, match="mode='gru'"):
        nn.RNNBase("gru", 3, 4)
    for kind in (nn.RNN, nn.RNNCell):
        with pytest.raises(ValueError, match="expected 'tanh' or 'relu'"):
            kind(3, 4, nonlinearity="gelu")
    with pytest.warns(UserWarning, match="drops nothing"):
        nn.LSTM(3, 4, dropout=0.5)


def test_inputs_that_are_refused() -> None:
    layer = nn.LSTM(3, 4)
    x, state = torch.randn(5, 2, 3), torch.zeros(1, 2, 4)
    with pytest.raises(ValueError, match=r"PackedSequence of .* expected data \(R, 3\)"):
        layer(nn.utils.rnn.pack_sequence([torch.randn(5, 4), torch.randn(2, 4)]))
    with pytest.raises(ValueError, match="which do not grow"):
        layer(nn.utils.rnn.PackedSequence(torch.randn(5, 3), torch.tensor([2, 3])))
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_exports_with_a_free_batch_size(kind: str) -> None:
    model = getattr(nn, kind)(3, 4, 2, batch_first=True, bidirectional=True)

    def loss_of(x: Any) -> Any:
        output, last = model(x)
        states: Any = last if isinstance(last, tuple) else (last,)
        return output.square().sum() + sum(state.sum() for state in states)

    class Step(torch.nn.Module):
        def forward(self, state: dict[str, Tensor], x: Tensor) -> Any:
            with Tracing(), substituted(model, state) as parameters:
                loss = loss_of(x)
                loss.backward()
                return [loss, *(p.grad_v for p in parameters.values())]

    state = {name: value.clone() for name, value in model.state_dict().items()}
    shapes = (dict.fromkeys(state), {0: torch.export.Dim("batch")})
    program = torch.export.export(Step(), (state, torch.randn(3, 5, 3)), dynamic_shapes=shapes, strict=False)
    for size in (2, 7):
        x = torch.randn(size, 5, 3)
        model.zero_grad()
        loss = loss_of(x)
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


@pytest.mark.parametrize("packed", [False, True], ids=["one length", "packed"])
@pytest.mark.parametrize(("kind", "options"), [("GRU", {}), ("LSTM", {}), ("LSTM", {"proj_size": 2})])
def test_states_of_more_digits_than_the_products_have(kind: str, options: dict[str, int], packed: bool) -> None:
    """Under autocast on the CPU, by loop and by formula: the same but for roundings to bfloat16, which are 2^-9 of the
    gates' values in each of five steps."""
    layer = getattr(nn, kind)(3, 4, bidirectional=True, **options)
    x = nn.Variable(torch.randn(5, 3, 3))
    found = []
    for body in (contextlib.nullcontext, functional.formulas):
        x.grad_v = None
        for parameter in layer.parameters():
            parameter.grad_v = None
        with body(), nn.autocast("cpu", torch.bfloat16):
            given = nn.utils.rnn.pack_padded_sequence(x, [2, 5, 3], enforce_sorted=False) if packed else x
            y, last = layer(given)
            y, states = y.data if packed else y, last if isinstance(last, tuple) else (last,)
            if kind == "GRU" or packed or options:
                assert states[-1].dtype == torch.float32
            total = sum((state.float().sum() for state in states), (y.float() ** 2).sum())
        with body():
            total.backward()
        found.append(([y, *states], [x.grad_v, *(p.grad_v for p in layer.parameters())]))
    (values, gradients), (plain_values, plain_gradients) = found
    for a, b in zip(values, plain_values, strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=0, atol=2**-7)
    for a, b in zip(gradients, plain_gradients, strict=True):
        assert a.dtype == b.dtype == torch.float32
        assert float((a - b).norm()) <= 2**-5 * float(b.norm())
