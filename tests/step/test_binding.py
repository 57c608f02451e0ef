"""What a compiled step sees of the outside: its programs are run by Python here, so that many cases cost little.

Each case is trained twice, eagerly and by the compiled step, with the same done to both in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad import nn, optim
from modgrad.step import TrainingStep, compiled
from modgrad.step.binding import Binding
from modgrad.step.dryrun import dry_run
from tests.step.models import (
    Halving,
    assert_same,
    perceptron,
    pictures,
    points,
    step_of_everything,
    step_of_points,
    twin,
)
from tests.step.test_training import EXACT, every_optimizer


class Interpreted:
    """Stands for a Native: runs the program itself."""

    def __init__(self, library: Any, binding: Binding, batch: list[Tensor], loss: torch.dtype) -> None:
        self.program, self.binding, self.kinds = library, binding, [(x.shape, x.dtype) for x in batch]

    def takes(self, batch: Any) -> bool:
        return [(x.shape, x.dtype) for x in batch if type(x) is Tensor] == self.kinds

    def run(self, batch: list[Tensor]) -> Tensor:
        return self.program(self.binding.leaves, [*self.binding.numbers, *batch])

    def run_many(self, numbers: list[Tensor], batch: list[Tensor], steps: int) -> Tensor:
        stacks = [*numbers, *batch]
        return torch.stack([self.program(self.binding.leaves, [x[k] for x in stacks]) for k in range(steps)])


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[Binding]:
    """Inside, nothing is compiled. Gives, for each program that would have been made or loaded, its binding."""
    made: list[Binding] = []

    def library(self: Any, binding: Binding, batch: list[Tensor], structure: Any, due: bool) -> Any:
        def program(leaves: list[Tensor], rest: list[Tensor]) -> Tensor:
            numbers, parts = rest[: len(binding.numbers)], rest[len(binding.numbers) :]
            return binding.in_place(due)(leaves, numbers, pytree.tree_unflatten(parts, structure))

        one = pytree.tree_unflatten(batch, structure)
        dry_run(self.step.names(), binding.pure(due), binding.leaves, binding.numbers, one, constants=binding.constants)
        made.append(binding)
        return program, batch[0].dtype

    monkeypatch.setattr(compiled.CompiledStep, "_library", library)
    monkeypatch.setattr(compiled, "Native", Interpreted)
    return made


def assert_equal_steps(
    step: TrainingStep,
    batches: list[Any],
    between: dict[int, Callable[[TrainingStep], Any]] | None = None,
    eager: tuple[int, ...] = (),
) -> Any:
    """Train one eagerly and its twin compiled. between: what is done to both before a step. eager: steps that the
    second takes eagerly too."""
    other = twin(step)
    run = other.compile()
    for i, batch in enumerate(batches):
        for each in (step, other):
            (between or {}).get(i, lambda _: None)(each)
        torch.testing.assert_close((other if i in eager else run)(*batch), step(*batch), **EXACT)
        assert_same(other, step)
        assert other.accumulated == step.accumulated
        for mine, theirs in zip(other.parameters().values(), step.parameters().values(), strict=True):
            assert (mine.grad_v is None) == (theirs.grad_v is None)
    return run


def several(size: int = 6) -> list[Any]:
    return [pictures(size, seed=i) for i in range(6)]


def begun(step: TrainingStep) -> TrainingStep:
    """After an update, as dampening wants."""
    for _ in range(step.accumulate):
        step(*pictures())
    return step


OPTIONS: list[dict[str, Any]] = [
    {},
    {"clip": 0.5},
    {"accumulate": 2},
    {"accumulate": 3, "clip": 0.5},
    {"fuse_update": True},
    {"accumulate": 2, "fuse_update": True},
]


@every_optimizer
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_everything(make: Any, options: dict[str, Any], programs: Any) -> None:
    assert_equal_steps(begun(step_of_everything(make, **options)), several())
    assert len(programs) == min(options.get("accumulate", 1), 2)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("eager", [(0, 1), (1, 3), (2, 4, 5)], ids=str)
def test_eager_steps_in_between(options: dict[str, Any], eager: tuple[int, ...], programs: Any) -> None:
    step = step_of_everything(lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1), **options)
    assert_equal_steps(step, several(), eager=eager)


def reload_model(step: TrainingStep) -> None:
    torch.manual_seed(7)
    step.model.load_state_dict({name: torch.rand_like(x) for name, x in perceptron().state_dict().items()})


def reload_optimizer(step: TrainingStep) -> None:
    step.optimizer.load_state_dict(step.optimizer.state_dict())


def replace_parameter(step: TrainingStep) -> None:
    torch.manual_seed(8)
    new = nn.Parameter(torch.rand(4, 5, dtype=torch.float64))
    step.model[2].weight = new
    step.optimizer.add_param_group({"params": [new], "lr": 0.2})


def replace_module(step: TrainingStep) -> None:
    torch.manual_seed(9)
    step.model.__dict__["1"] = nn.Sigmoid()
    new = nn.Linear(5, 4, dtype=torch.float64)
    setattr(step.model, "2", new)
    step.optimizer.add_param_group({"params": list(new.parameters())})


def set_number(name: str, value: Any) -> Callable[[TrainingStep], None]:
    return lambda step: step.optimizer.param_groups[0].update({name: value})


def change_slope(step: TrainingStep) -> None:
    step.model[5].factor = 3.0


class Slope(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = 2.0

    def forward(self, x: Any) -> Any:
        return x * self.factor


# name, what is done between, whether it takes a new binding
CHANGES: list[tuple[str, Callable[[TrainingStep], Any], bool]] = [
    ("lr", set_number("lr", 0.003), False),
    ("lr 0", set_number("lr", 0.0), False),
    ("lr a tensor", set_number("lr", torch.tensor(0.25, dtype=torch.float64)), False),
    ("momentum", set_number("momentum", 0.3), False),
    ("momentum 0", set_number("momentum", 0.0), True),
    ("weight decay on", set_number("weight_decay", 0.1), True),
    ("maximize", set_number("maximize", True), True),
    ("an entry more", set_number("name", "first"), True),
    ("load_state_dict of the model", reload_model, False),
    ("load_state_dict of the optimizer", reload_optimizer, True),
    ("state of the optimizer let go", lambda step: step.optimizer.state.clear(), True),
    ("replaced parameter", replace_parameter, True),
    ("replaced module", replace_module, True),
    ("data", lambda step: setattr(step.model[0].weight, "data", step.model[0].weight.data * 2), True),
    ("frozen", lambda step: step.model[2].freeze(), True),
    ("eval", lambda step: step.model.eval(), True),
    ("an attribute", change_slope, True),
    ("one module more", lambda step: step.model.append(nn.Tanh()), True),
    ("recomputed", lambda step: nn.recompute(step.model[1]), True),
]


@pytest.mark.parametrize(("change", "anew"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_changes_between_steps(change: Any, anew: bool, programs: Any) -> None:
    step = step_of_points(lambda p: optim.SGD(p, lr=0.1, momentum=0.9))
    step.model.append(Slope())
    step.model.append(nn.Dropout(0.0))
    assert_equal_steps(step, [points(seed=i) for i in range(5)], {2: change})
    assert len(set(map(id, programs))) == 1 + anew


def test_a_learning_rate_in_a_tensor_changed_in_place(programs: Any) -> None:
    step = step_of_points(lambda p: optim.SGD(p, lr=0.1))
    lr = torch.tensor(0.1, dtype=torch.float64)
    step.optimizer.param_groups[0]["lr"] = lr
    other = twin(step)
    run = other.compile()
    for i in range(4):
        for each in (step, other):
            each.optimizer.param_groups[0]["lr"].mul_(0.5)
        torch.testing.assert_close(run(*points(seed=i)), step(*points(seed=i)), **EXACT)
    assert_same(step, other)
    assert len(programs) == 1


def test_flips_back_and_forth(programs: Any) -> None:
    step = step_of_everything(lambda p: optim.Adam(p, lr=0.01))
    between: dict[int, Callable[[TrainingStep], Any]] = {
        1: lambda s: s.model.block.freeze(),
        2: lambda s: s.model.eval(),
        3: lambda s: s.model.block.unfreeze(),
        4: lambda s: s.model.train(),
    }
    assert_equal_steps(step, several(), between)


def test_untied(programs: Any) -> None:
    """The parameter that is replaced is held by another module too."""

    def untie(step: TrainingStep) -> None:
        weight = nn.Parameter(step.model.embedding.weight.detach().clone())  # type: ignore[union-attr]
        step.criterion.linear.weight = weight  # type: ignore[union-attr]
        step.optimizer.add_param_group({"params": [weight]})

    assert_equal_steps(step_of_everything(lambda p: optim.SGD(p, lr=0.1)), several(), {2: untie})


def test_converted(programs: Any) -> None:
    """The parameters stay the same objects, with other memory."""
    step = step_of_points(lambda p: optim.SGD(p, lr=0.1), dtype=torch.float32)
    other = twin(step)
    run = other.compile()
    for i in range(2):
        torch.testing.assert_close(run(*points(6, torch.float32, i)), step(*points(6, torch.float32, i)))
    for each in (step, other):
        each.model.to(torch.float64)
    for i in range(2):
        torch.testing.assert_close(run(*points(seed=i)), step(*points(seed=i)), rtol=1e-6, atol=1e-6)
    assert_same(step, other, rtol=1e-5, atol=1e-6)
    assert next(other.model.parameters()).dtype is torch.float64


def test_several_steps_a_call(programs: Any) -> None:
    for options in ({}, {"accumulate": 2}):
        step = step_of_everything(lambda p: optim.Adam(p, lr=0.01), **options)
        other = twin(step)
        step.scheduler, other.scheduler = Halving(step.optimizer), Halving(other.optimizer)
        run = other.compile(steps=4)
        for k in range(2):
            batches = [pictures(seed=4 * k + i) for i in range(4)]
            losses = run(*map(torch.stack, zip(*batches, strict=True)))
            torch.testing.assert_close(losses, torch.stack([step(*batch) for batch in batches]), **EXACT)
            assert_same(step, other)
            assert step.scheduler.calls == other.scheduler.calls


def test_a_schedule_from_zero_to_zero(programs: Any) -> None:
    class Triangle:
        def __init__(self, optimizer: optim.Optimizer) -> None:
            self.optimizer, self.number = optimizer, 0

        def step(self) -> None:
            self.number += 1
            self.optimizer.param_groups[0]["lr"] = 0.1 * max(0, 2 - abs(2 - self.number))

    step = step_of_points(lambda p: optim.SGD(p, lr=0.0))
    other = twin(step)
    step.scheduler, other.scheduler = Triangle(step.optimizer), Triangle(other.optimizer)
    run = other.compile(steps=3)
    batches = [points(seed=i) for i in range(6)]
    for k in (0, 3):
        run(*map(torch.stack, zip(*batches[k : k + 3], strict=True)))
    for batch in batches:
        step(*batch)
    assert_same(step, other)
    assert len(programs) == 1


def test_a_schedule_that_needs_another_program_says_so(programs: Any) -> None:
    step = step_of_points(lambda p: optim.SGD(p, lr=0.1, momentum=0.9))
    step.scheduler = Halving(step.optimizer, momentum=lambda m: m - 0.9)
    xs, ys = map(torch.stack, zip(*[points(seed=i) for i in range(3)], strict=True))
    with pytest.raises(RuntimeError, match="step 2 of 3: the scheduler changed more.*steps=1"):
        step.compile(steps=3)(xs, ys)


def test_a_forward_that_leaves_things_behind(programs: Any) -> None:
    """Tensors and numbers that a forward keeps as attributes do not stand in the way."""

    class Remembering(nn.Module):
        def forward(self, x: Any) -> Any:
            self.last = x
            return x

    step = step_of_points(lambda p: optim.SGD(p, lr=0.1))
    step.model.append(Remembering())
    run = step.compile()
    for i in range(4):
        run(*points(seed=i))
    assert len(programs) == 1


def test_batches_that_train_different_parameters(programs: Any) -> None:
    class Either(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.narrow, self.wide = nn.Linear(3, 2, dtype=torch.float64), nn.Linear(4, 2, dtype=torch.float64)

        def forward(self, x: Any) -> Any:
            return self.narrow(x) if x.shape[1] == 3 else self.wide(x)

    torch.manual_seed(0)
    model = Either()
    x, y = points()
    wide = torch.cat([x, x[:, :1]], 1)
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.1))
    assert_equal_steps(step, [(x, y), (wide, y), (x, y), (wide, y)])
    run = TrainingStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()), accumulate=2).compile()
    run(x, y)
    with pytest.raises(RuntimeError, match=r"some train narrow.bias, .* and others do not.*two steps"):
        run(wide, y)


def test_arguments_in_another_structure(programs: Any) -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2, dtype=torch.float64)

        def forward(self, x: Any, *more: Any) -> Any:
            x = x[0] - x[1] if isinstance(x, tuple) else x + more[0]
            return self.linear(x)

    torch.manual_seed(0)
    model = Sum()
    (a, y), (b, _) = points(), points(seed=1)
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    assert_equal_steps(step, [(a, b, y), ((a, b), y), (a, b, y)])


class Masked(nn.Module):
    """Holds a tensor that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 3)
        self.mask = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)

    def forward(self, x: Any) -> Any:
        return self.inner(x) * self.mask


def test_a_constant_changed_in_place(programs: list[Binding]) -> None:
    model = Masked().double()
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))

    def change(each: TrainingStep) -> None:
        each.model.mask.add_(1.0)

    batches = [(torch.randn(4, 2, dtype=torch.float64), torch.randint(3, (4,))) for _ in range(4)]
    assert_equal_steps(step, batches, {2: change})
    assert len(programs) == 2
