"""PyTorch's modules as modgrad's: the same values, the same gradients, or a refusal that names what and why."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, ClassVar, Generic, TypeVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modgrad import interop, nn, optim
from modgrad.step import TrainingStep
from tests.interop import theirs
from tests.test_module_database import ENTRIES, assert_alike, cases, floats, ours

N = torch.nn
TIGHT = {"rtol": 1e-9, "atol": 1e-10}


def image() -> Tensor:
    return torch.randn(2, 3, 16, 16, dtype=torch.float64)


def tokens() -> Tensor:
    return torch.randint(0, 7, (3, 5))


def row(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


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


def outputs(y: Any) -> list[Any]:
    return [part for part in (y if isinstance(y, tuple) else (y,)) if part is not None]


def leaves(inputs: tuple[Tensor, ...], make: Callable[[Tensor], Any]) -> list[Any]:
    return [make(x.clone()) if x.is_floating_point() else x for x in inputs]


def assert_same_model(twin: Any, mine: Any, *inputs: Tensor) -> None:
    """Values, gradients of inputs and of parameters, buffers."""
    a, b = leaves(inputs, lambda x: x.requires_grad_()), leaves(inputs, nn.Variable)
    torch.manual_seed(1)
    y = outputs(twin(*a))
    torch.manual_seed(1)
    z = outputs(mine(*b))
    upstream = [torch.randn_like(part) for part in y]
    for parts in (y, z):
        total: Any = 0
        for part, grad in zip(parts, upstream, strict=True):
            total = (part * grad).sum() + total
        total.backward()
    for part, other in zip(y, z, strict=True):
        torch.testing.assert_close(other.detach(), part.detach(), **TIGHT)
    for x, other in zip(a, b, strict=True):
        if x.is_floating_point():
            torch.testing.assert_close(other.grad_v, x.grad, **TIGHT)
    ours, known = dict(mine.named_parameters()), dict(twin.named_parameters())
    assert list(ours) == list(known)
    for name, parameter in known.items():
        assert (ours[name].grad_v is None) == (parameter.grad is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(ours[name].grad_v, parameter.grad, msg=lambda m, n=name: f"{n}: {m}", **TIGHT)
    for (name, buffer), (path, other) in zip(twin.named_buffers(), mine.named_buffers(), strict=True):
        assert name == path
        torch.testing.assert_close(other, buffer, **TIGHT)


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


@pytest.mark.filterwarnings("ignore")  # of PyTorch's modules, about themselves
@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_every_layer_there_and_back(name: str) -> None:
    """Constructors of PyTorch's module database, up to a hundred of each class: arguments, names, values; and
    `to_torch` gives the first again."""
    rows = {f"{r.constructor_input.args} {r.constructor_input.kwargs} {t}": (r, t) for r, t in cases(name)}
    for key, (row, training) in list(rows.items())[:: 1 + len(rows) // 100]:
        given = row.constructor_input
        twin = ENTRIES[name].module_cls(*given.args, **given.kwargs).double().train(training)
        mine = interop.from_torch(twin)
        back = interop.to_torch(mine)
        known = repr(twin).replace("NonDynamicallyQuantizableLinear", "Linear")
        assert repr(back).replace("NonDynamicallyQuantizableLinear", "Linear") == known
        if not name.endswith("Loss"):  # PyTorch's losses do not show their arguments
            assert repr(mine) == known
        for module in (mine, back):
            assert list(module.state_dict()) == list(twin.state_dict())
            assert all(m.training is training for m in module.modules())
            torch.manual_seed(2)
            expected = floats(twin(*row.forward_input.args, **row.forward_input.kwargs))
            args, kwargs = row.forward_input.args, row.forward_input.kwargs
            if module is mine:
                args, kwargs = (ours(x, {}) for x in (args, kwargs))
            torch.manual_seed(2)
            found = floats(module(*args, **kwargs))
            for i, (y, z) in enumerate(zip(expected, found, strict=True)):
                assert_alike(z, y, f"{key}: output {i}")


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


def test_methods_attributes_and_classes() -> None:
    twin = theirs.GPT(flash=True).double().eval()
    mine = interop.from_torch(twin)
    assert type(mine).__name__ == "GPT"
    assert type(mine).__module__ == theirs.__name__
    assert mine.get_num_params() == twin.get_num_params()
    start = torch.tensor([[3, 1]])
    with nn.no_grad():
        assert torch.equal(mine.generate(start, 4), twin.generate(start, 4))
    tagger = interop.from_torch(theirs.Tagger())
    assert isinstance(tagger, theirs.Counter)
    assert not isinstance(tagger, N.Module)
    tagger(tokens())
    assert (tagger.calls, tagger.temperature) == (1, 2.0)
    dense = interop.from_torch(theirs.DenseNet())
    assert isinstance(dense.block, nn.ModuleDict)
    assert type(dense.block["layer0"]) is type(dense.block["layer1"])
    assert dense.block["layer0"].out_channels == 2
    with pytest.raises(TypeError, match="GPT was converted from a module of PyTorch's: make that, and convert it"):
        type(mine)(flash=True)


T = TypeVar("T")


class Scaled(N.Module, Generic[T]):
    """Bases, cells and descriptors of every kind."""

    scales: ClassVar[list[float]] = [2.0]

    def __init__(self) -> None:
        super().__init__()
        self.weight = N.Parameter(torch.randn(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("ni,oi->no", x, self.weight) * self.scale

    @property
    def scale(self) -> float:
        return self.scales[0]

    @scale.setter
    def scale(self, value: float) -> None:
        self.scales[0] = value


def doubled(function: Any) -> Any:
    @wraps(function)
    def run(*args: Any) -> Any:
        return 2 * function(*args)

    return run


class Deep(Scaled[int], ABC):
    @doubled
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.offset

    @cached_property
    def offset(self) -> float:
        return super().scale + 1

    @classmethod
    def named(cls) -> str:
        return cls.__name__

    @abstractmethod
    def nothing(self) -> None: ...


@dataclass(eq=False)
class Deeper(Deep):
    power: int = 2

    def __post_init__(self) -> None:
        Deep.__init__(self)

    def nothing(self) -> None:
        return None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) ** self.power + self.helper(x)

    def helper(self, x: Tensor) -> Any:
        def inner(y: Any) -> Any:
            return __class__.named() and y  # type: ignore[name-defined]

        return inner(x)


def test_classes_of_every_kind() -> None:
    twin = Deeper(3).double()
    mine = interop.from_torch(twin)
    assert_same_model(twin, mine, row(2, 3))
    assert type(mine).named() == "Deeper"
    assert [base.__name__ for base in type(mine).__mro__[:3]] == ["Deeper", "Deep", "Scaled"]
    mine.scale = 3.0
    assert Scaled.scales == [3.0]


class InPlace(N.Module):
    """What it is to do is a function of itself and its input."""

    def __init__(self, use: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.first, self.relu = N.Linear(4, 4), N.ReLU(inplace=True)
        self.drop = N.Dropout(0.0, inplace=True)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self, self.first(x))


def add_to(x: Any, y: Any) -> Any:
    x += y
    return x


def twice(x: Any) -> Any:
    x *= 2
    x -= 1
    x /= 3
    return x


@pytest.mark.parametrize(
    "use",
    [
        lambda m, x: add_to(x, x.exp()),
        lambda m, x: add_to(x, x),
        lambda m, x: twice(x),
        lambda m, x: m.relu(x) + 1,
        lambda m, x: m.drop(m.relu(x)),
        lambda m, x: F.relu(x, inplace=True),
        lambda m, x: F.relu(x + 1, True) + F.leaky_relu(x, 0.1, True),
        lambda m, x: F.dropout(x, 0.0, inplace=True),
        lambda m, x: x.add_(1).mul_(2.0).relu_(),
        lambda m, x: torch.relu_(x),
        lambda m, x: F.elu_(x, 0.5),
        lambda m, x: x.clamp_(-0.5, 0.5).masked_fill_(torch.eye(4) > 0, 3.0),
        lambda m, x: add_to(m.first(x.view(1, 4, 4)), x),  # whose memory a kernel made under another shape
    ],
)
def test_in_place(use: Any) -> None:
    """What is done in place, to what is not used again, is done out of place."""
    twin = InPlace(use).double()
    assert_same_model(twin, interop.from_torch(twin), row(4, 4))


def use_old(m: Any, x: Any, then: Any) -> Any:
    kept = x
    x = m.relu(x)
    return then(kept, x)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m, x: use_old(m, x, lambda old, new: old + new), "after ReLU was done to it in place"),
        (lambda m, x: use_old(m, x, lambda old, new: torch.cat([new, old])), "after ReLU was done to it in place"),
        (lambda m, x: use_old(m, x, lambda old, new: m.first(old)), "after ReLU was done to it in place"),
        (lambda m, x: use_old(m, x, lambda old, new: new * old.item()), "after ReLU was done to it in place"),
        (lambda m, x: use_old(m, x, lambda old, new: new + old.detach()), "after ReLU was done to it in place"),
        (lambda m, x: use_old(m, x, lambda old, new: new if old.sum() > 0 else old), "after ReLU was done"),
        (lambda m, x: (add_to(x, 1), x.sum())[1], r"of shape \(4, 4\) is used after add_ was done"),
        (lambda m, x: (x.add_(1), x.sum())[1], "after add_ was done"),
        (lambda m, x: (F.relu(x, inplace=True), x)[1].sum(), "after relu was done"),
        (lambda m, x: add_to(x[0], 1), "shares memory with others"),
        (lambda m, x: add_to(x.view(2, 8), 1), "shares memory with others"),
        (lambda m, x: (x.t(), add_to(x, 1))[0], "shares memory with others"),
        (lambda m, x: m.relu(x.chunk(2)[0]), "shares memory with others"),
        (lambda m, x: x.unsqueeze_(0), r"gives shape \(1, 4, 4\), and the Variable has \(4, 4\)"),
        (lambda m, x: x.zero_(), "zero_ would change a Variable in place"),
        (lambda m, x: (x.__setitem__(0, 1.0), x)[1], "__setitem__ would change a Variable in place"),
        (lambda m, x: add_to(torch.zeros(4, 4).double(), x), "would write a Variable into a tensor outside the graph"),
    ],
)
def test_in_place_where_others_would_see_it(use: Any, message: str) -> None:
    mine = interop.from_torch(InPlace(use).double())
    with pytest.raises(RuntimeError, match=message):
        mine(row(4, 4))


def test_in_place_on_plain_tensors_as_in_pytorch() -> None:
    twin = InPlace(lambda m, x: use_old(m, x, lambda old, new: old + new)).double().eval()
    mine = interop.from_torch(twin)
    x, (a, b) = row(4, 4), (row(3), row(3))
    b.copy_(a)
    with nn.no_grad(), torch.no_grad():
        assert torch.equal(mine(x), twin(x))
        assert mine.relu(a) is a
        twin.relu(b)
        assert torch.equal(a, b)
    leaf = nn.Variable(torch.tensor([-1.0, 2.0]))
    mine.relu(leaf).sum().backward()
    assert leaf.grad_v.tolist() == [0.0, 1.0]
    with pytest.raises(RuntimeError, match="add_ would change a Variable in place"):
        add_to(mine.first(x), 1)  # outside of a forward that was written for PyTorch


class Uses(N.Module):
    """Has a forward that does what its function does."""

    def __init__(self, use: Any = None) -> None:
        super().__init__()
        self.use = use

    def forward(self, x: Tensor) -> Any:
        return self.use(x)


def refusal(module: Any) -> str:
    with pytest.raises(TypeError) as error:
        interop.from_torch(module)
    return str(error.value)


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def through(x: Any) -> Any:
    return Straight.apply(x)


@torch.no_grad()
def decorated(x: Any) -> Any:
    return x


def without_gradient(x: Any) -> Any:
    with torch.no_grad():
        return x + 1


def helped(x: Any) -> Any:
    return [without_gradient(y) for y in x]


def asks(x: Any) -> Any:
    return x if isinstance(x, N.Identity) else x + 1


def mapped(x: Any) -> Any:
    return torch.func.vmap(torch.sin)(x)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (
            without_gradient,
            r"without_gradient \(line \d+\) uses torch.no_grad, which modgrad does not heed: write .det",
        ),
        (helped, r"without_gradient \(line \d+\) uses torch.no_grad"),
        (decorated, "uses torch.no_grad"),
        (lambda x: torch.set_grad_enabled(False), "uses torch.set_grad_enabled"),
        (
            through,
            r"through \(line \d+\) uses Straight, whose backward would not be asked: write it as an nn.Primitive",
        ),
        (asks, r"asks \(line \d+\) asks whether something is a Identity, which its twin is not"),
        (mapped, r"uses torch.func.vmap, which leaves the graph"),
    ],
)
def test_code_that_would_not_do_the_same(use: Any, message: str) -> None:
    import re

    text = refusal(N.Sequential(N.Linear(2, 2), Uses(use)))
    assert text.startswith("from_torch cannot convert 1 of 3 modules:\n  1 (Uses): ")
    assert re.search(message, text), text


@pytest.mark.filterwarnings("ignore")  # scripting is deprecated
def test_scripted_and_compiled_functions() -> None:
    def double(x: Tensor) -> Tensor:
        return x * 2

    scripted = torch.jit.script(double)
    assert "uses a scripted function" in refusal(Uses(lambda x: scripted(x)))
    compiled = torch.compile(double, backend="eager")
    assert "uses double, compiled by torch.compile: take the function itself" in refusal(Uses(lambda x: compiled(x)))


class ByName(Uses):
    def forward(self, x: Tensor) -> Any:
        return super(ByName, self).forward(x)  # noqa: UP008


class OfItsBase(ByName):
    def forward(self, x: Tensor) -> Any:
        return Uses.forward(self, x)


class Calls(Uses):
    def __call__(self, x: Tensor) -> Any:
        return x

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return {}


class OddLinear(N.Linear):
    def __repr__(self) -> str:
        return "odd"


class Odd(N.TransformerEncoderLayer):
    def _ff_block(self, x: Tensor) -> Tensor:
        return x


class Frozen(N.Module):
    def train(self, mode: bool = True) -> Any:
        for module in self.modules():
            if isinstance(module, N.BatchNorm2d):
                module.eval()
        return self


@pytest.mark.filterwarnings("ignore")  # PyTorch's, of what it has given up
def test_each_module_that_cannot_be_converted_is_named() -> None:
    hooked = N.Linear(2, 2)
    hooked.register_forward_hook(lambda m, x, y: y)
    watched = N.Linear(2, 2)
    watched.register_full_backward_hook(lambda m, x, y: None)
    replaced = N.ReLU()
    replaced.forward = lambda x: x  # type: ignore[method-assign]
    whole = N.Linear(2, 2)
    whole.weight = N.Parameter(torch.ones(2, 2, dtype=torch.int8), requires_grad=False)
    wants = Uses(F.relu)
    wants.scale = torch.ones(1, requires_grad=True)
    other = Uses(F.relu)
    other.held = type("Box", (), {})()
    other.held.module = N.Linear(2, 2)
    outside = Uses(F.relu)
    outside.layers = [N.Linear(2, 2), N.LazyLinear(3)]
    model = N.ModuleDict(
        {
            "fine": N.Linear(2, 2),
            "lazy": N.LazyLinear(3),
            "hooked": hooked,
            "watched": watched,
            "normed": N.utils.weight_norm(N.Linear(2, 2)),
            "parametrized": N.utils.parametrizations.weight_norm(N.Linear(2, 2)),
            "quantized": torch.ao.nn.quantized.Linear(2, 2),
            "parallel": N.DataParallel(N.Linear(2, 2)),
            "scripted": torch.jit.script(N.Linear(2, 2)),
            "compiled": torch.compile(N.Linear(2, 2)),
            "replaced": replaced,
            "whole": whole,
            "by_name": ByName(F.relu),
            "of_its_base": OfItsBase(F.relu),
            "calls": Calls(F.relu),
            "odd": Odd(4, 2, 8),
            "linear": OddLinear(2, 2),
            "frozen": Frozen(),
            "sparse": N.Embedding(3, 2, sparse=True),
        }
    )
    text = refusal(model)
    for part in [
        "lazy (LazyLinear): it is lazy, and its parameters have no shape yet: call the model once",
        "hooked (Linear): it has a forward hook, <lambda>: remove it, and register it on the converted module",
        "watched (Linear): it has a backward hook, <lambda>: ",
        "normed (Linear): it has a forward pre-hook, WeightNorm: write torch.nn.utils.remove_weight_norm(module)",
        "parametrized (ParametrizedLinear): it has parametrizations, of weight: write torch.nn.utils.parametrize.",
        "quantized (Linear): it is quantized",
        "parallel (DataParallel): take what is in it, module.module",
        "scripted (RecursiveScriptModule): it is scripted: take the module that it was made from",
        "compiled (OptimizedModule): it is compiled: take the module itself, module._orig_mod",
        "replaced (ReLU): its forward was replaced on this one object: write a class",
        "whole (Linear): its parameter weight is of torch.int8, and only floating-point ones have gradients here",
        "by_name (ByName): ByName.forward",
        "calls a method of ByName by the class's name: write super()",
        "of_its_base (OfItsBase): OfItsBase.forward",
        "calls a method of Uses by the class's name: write super()",
        "calls (Calls): its class has its own __call__, state_dict in place of what Module has",
        "odd (Odd): its class has its own _ff_block in place of what TransformerEncoderLayer has",
        "linear (OddLinear): its class has its own __repr__ in place of what Linear has",
        "frozen (Frozen): Frozen.train",
        "asks whether something is a BatchNorm2d",
    ]:
        assert part in text, f"{part}\n{text}"
    assert "fine" not in text
    assert "sparse" not in text, "which is told when the rest can be converted"
    assert "(Embedding): Embedding(sparse=True): here a gradient" in refusal(N.Sequential(model["sparse"]))
    text = refusal(N.ModuleList([wants, other, outside]))
    for part in [
        "0 (Uses): its attribute scale is a tensor that asks PyTorch's autograd for a gradient: make it a Parameter",
        "1 (Uses): its attribute held is a Box that holds a module or parameter of PyTorch's",
        "2.layers.1 (LazyLinear): it is lazy",
    ]:
        assert part in text, f"{part}\n{text}"


def test_parameters_that_share_memory_without_being_one() -> None:
    model = N.Sequential(N.Linear(2, 2), N.Linear(2, 2))
    model[1].weight.data = model[0].weight.data
    text = refusal(model)
    assert "1 (Linear): its parameter weight is in the memory of 0.weight, which a copy would not be: make them" in text
    mine = interop.from_torch(model, copy=False)
    assert mine[1].weight is not mine[0].weight
    assert mine[1].weight.data_ptr() == mine[0].weight.data_ptr()


def test_what_is_no_module() -> None:
    with pytest.raises(TypeError, match="expected one of PyTorch's modules, got function"):
        interop.from_torch(F.relu)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected one of PyTorch's modules, got Linear"):
        interop.from_torch(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="expected one of modgrad's modules, got Linear"):
        interop.to_torch(N.Linear(2, 2))  # type: ignore[arg-type]


def test_to_torch_there_and_back() -> None:
    class Net(nn.Module):
        def forward(self, x: Any) -> Any:
            return x

    class Square(nn.Primitive):
        pass

    shared = nn.Linear(3, 3)
    mine = nn.Sequential(shared, nn.ModuleDict({"a": shared, "b": nn.LSTM(3, 2)}), nn.ParameterList([torch.ones(2)]))
    shared.bias.grad_f = False
    twin = interop.to_torch(mine.eval())
    assert twin[0] is twin[1]["a"]
    assert not twin[0].bias.requires_grad
    assert twin[0].weight.requires_grad
    assert not any(m.training for m in twin.modules())
    assert len(twin[2]) == 1
    x = torch.randn(4, 2, 3)
    torch.testing.assert_close(twin[1]["b"](x)[0], mine[1]["b"](x)[0].detach())
    hooked = nn.ReLU()
    hooked.register_forward_hook(lambda m, x, y: None)
    with pytest.raises(TypeError) as error:
        interop.to_torch(nn.Sequential(Net(), Square(), nn.ReLU(), hooked))
    for part in [
        "to_torch cannot convert 3 of 5 modules:",
        "0 (Net): it has a forward of its own, made of modgrad's modules",
        "1 (Square): it has a forward of its own",
        "3 (ReLU): it has hooks: remove them",
    ]:
        assert part in str(error.value)


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
