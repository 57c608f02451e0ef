"""Randomness as state: what is drawn depends on the seed, the step and the order of calls, and on nothing else."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from modgrad import functional, nn, optim
from modgrad.graph import Randomness
from modgrad.graph.mode import mode
from modgrad.graph.tracing import Tracing, substituted


def seed(first: int, step: int = 0) -> Tensor:
    return torch.tensor([first, step])


def drawn(seed: Tensor, calls: int = 3, shape: tuple[int, ...] = (4, 50), p: float = 0.5) -> list[Tensor]:
    dropout, ones = nn.Dropout(p), torch.ones(shape)
    with Randomness(seed):
        return [dropout(ones) != 0 for _ in range(calls)]


def test_the_same_seed_draws_the_same_and_any_other_does_not() -> None:
    first = drawn(seed(3, 5))
    state = torch.get_rng_state()
    again = drawn(seed(3, 5))
    assert torch.equal(torch.get_rng_state(), state), "torch's generator is left alone"
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    masks = [first, *(drawn(seed(*other)) for other in [(4, 5), (3, 6), (5, 3), (-3, 5), (0, 0), (2**62, 0), (-1, 0)])]
    flat = [tuple(mask.flatten().tolist()) for three in masks for mask in three]
    assert len(set(flat)) == len(flat)


def test_marks_and_rewinding() -> None:
    dropout, ones = nn.Dropout(), torch.ones(30)
    with Randomness(seed(1)) as randomness:
        dropout(ones)
        before = randomness.mark()
        block = [dropout(ones) for _ in range(2)]
        after = randomness.mark()
        later = dropout(ones)
    with randomness:  # as a block that computes its forward again in backward
        end = randomness.mark()
        randomness.rewind(before)
        again = [dropout(ones) for _ in range(2)]
        assert randomness.mark() == after
        assert torch.equal(dropout(ones), later)
        randomness.rewind(end)
    assert all(torch.equal(a, b) for a, b in zip(block, again, strict=True))
    assert not torch.equal(block[0], block[1])


def test_it_holds_inside_only_in_this_thread_and_within_itself() -> None:
    outer, inner = Randomness(seed(1)), Randomness(seed(2))
    elsewhere: list[Any] = []
    with outer:
        with inner:
            with outer:
                assert mode.randomness is outer
            assert mode.randomness is inner
        assert mode.randomness is outer
        assert mode.ordinary, "layers in turn are called the quick way still"
        thread = threading.Thread(target=lambda: elsewhere.append(mode.randomness))
        thread.start()
        thread.join()
    assert mode.randomness is None
    assert elsewhere == [None]
    with pytest.raises(KeyError), outer:
        raise KeyError
    assert mode.randomness is None


def test_evaluation_draws_nothing() -> None:
    with Randomness(seed(1)) as randomness:
        nn.Dropout().eval()(torch.ones(3))
        nn.Dropout(0.0)(torch.ones(3))
    assert randomness.mark() == 0


@pytest.mark.parametrize("wrong", [3, torch.tensor(3), torch.tensor([1.0, 2.0]), torch.tensor([1, 2, 3])])
def test_a_seed_that_is_none(wrong: Any) -> None:
    with pytest.raises(TypeError, match="an int64 tensor of two elements"):
        Randomness(wrong)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.norm = nn.LayerNorm(4)
        self.inner = nn.Sequential(nn.Dropout(0.3), nn.Linear(4, 6), nn.GELU(), nn.Dropout(0.5))
        self.outer = nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        return self.outer(self.inner(self.norm(self.table(x))))


def step(model: nn.Module, state: dict[str, Tensor], seed: Tensor, x: Tensor, y: Tensor) -> Any:
    """One training step as a pure function: (state, seed, batch) -> (state, seed, loss)."""
    with Tracing(), substituted(model, state) as parameters, Randomness(seed):
        loss = nn.CrossEntropyLoss()(model(x), y)
        loss.backward()
        state = {name: optim.sgd(p, p.grad_v, None, lr=0.1)[0] for name, p in parameters.items()}
    return state, torch.stack([seed[0], seed[1] + 1]), loss


class Step(torch.nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, state: dict[str, Tensor], seed: Tensor, x: Tensor, y: Tensor) -> Any:
        return step(self.model, state, seed, x, y)


def assert_trains_as_eager(program: Any, model: nn.Module, sizes: tuple[int, ...]) -> None:
    """Several steps of `program` equal eager steps under the same seed, batches of any size among them."""
    state, words = {name: value.clone() for name, value in model.state_dict().items()}, seed(11)
    optimizer, criterion = optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss()
    for number, size in enumerate(sizes):
        x, y = torch.randint(0, 7, (size,)), torch.randint(0, 3, (size,))
        state, words, loss = program(state, words, x, y)
        assert words.tolist() == [11, number + 1]
        optimizer.zero_grad()
        with Randomness(seed(11, number)):
            eager = criterion(model(x), y)
        eager.backward()
        optimizer.step()
        torch.testing.assert_close(loss, eager.detach())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(state[name], value)


def assert_pure(graph: Any) -> None:
    calls = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    assert not [name for name in calls if ("dropout" in name and "backward" not in name) or "bernoulli" in name]
    assert not [name for name in calls if "rand" in name or "uniform" in name]
    assert all(node.op != "get_attr" for node in graph.nodes), "nothing was taken for a constant"


@pytest.mark.parametrize("formulas", [False, True], ids=["kernels", "formulas"])
def test_a_step_exports_with_a_free_batch_size(formulas: bool) -> None:
    model, batch = Net(), torch.export.Dim("batch")
    state = {name: value.clone() for name, value in model.state_dict().items()}
    inputs = state, seed(0), torch.randint(0, 7, (5,)), torch.randint(0, 3, (5,))
    with functional.formulas() if formulas else nn.keep_values():
        program = torch.export.export(
            Step(model), inputs, dynamic_shapes=(dict.fromkeys(state), None, {0: batch}, {0: batch}), strict=False
        )
    assert_pure(program.graph)
    assert_trains_as_eager(program.module(), model, (5, 9, 2))


def test_a_step_traces_with_make_fx() -> None:
    model = Net()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    inputs = state, seed(0), torch.randint(0, 7, (5,)), torch.randint(0, 3, (5,))
    program = make_fx(lambda *args: step(model, *args), tracing_mode="fake")(*inputs)
    assert_pure(program.graph)
    assert_trains_as_eager(program, model, (5, 5, 5))
