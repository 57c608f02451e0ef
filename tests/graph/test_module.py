"""Module: registration by assignment, looking through, saved state, conversion, copies."""

from __future__ import annotations

import copy
import io
import pickle
from collections import OrderedDict
from typing import Any
from weakref import ref

import pytest
import torch
from torch import Tensor

from modgrad import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.body = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.BatchNorm2d(2))
        self.mean = nn.Buffer(torch.zeros(2))
        self.register_buffer("scratch", torch.zeros(1), persistent=False)
        self.register_parameter("absent", None)
        self.many = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        self.named = nn.ModuleDict({"out": nn.Linear(2, 1)})
        self.constant = 3
        self.plain = torch.ones(1)

    def forward(self, x: Any) -> Any:
        return self.named["out"](self.many[1](self.many[0](self.body[:2](x) * self.scale)))


class Twin(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        n = torch.nn
        self.scale = n.Parameter(torch.ones(2))
        self.body = n.Sequential(n.Linear(3, 2), n.ReLU(), n.BatchNorm2d(2))
        self.mean = n.Buffer(torch.zeros(2))
        self.register_buffer("scratch", torch.zeros(1), persistent=False)
        self.register_parameter("absent", None)
        self.many = n.ModuleList([n.Linear(2, 2), n.Linear(2, 2)])
        self.named = n.ModuleDict({"out": n.Linear(2, 1)})


def test_names_are_pytorchs() -> None:
    mine, twin = Net(), Twin()
    for method in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        assert [n for n, _ in getattr(mine, method)()] == [n for n, _ in getattr(twin, method)()]
    assert list(mine.state_dict()) == list(twin.state_dict())
    assert [len(list(m.parameters())) for m in (mine, twin)] == [9 + 2, 9 + 2]
    assert len(list(mine.modules())) == len(list(twin.modules()))
    assert len(list(mine.children())) == 3
    assert len(list(mine.buffers())) == 5
    assert [n for n, _ in mine.named_parameters("p", recurse=False)] == ["p.scale"]
    assert mine.get_submodule("body.0") is mine.body[0]
    assert mine.get_parameter("many.1.bias") is mine.many[1].bias


def test_state_goes_both_ways() -> None:
    mine, twin = Net(), Twin()
    assert mine.load_state_dict(twin.state_dict()) == ([], [])
    for name, value in twin.state_dict().items():
        assert torch.equal(mine.state_dict()[name], value)
    assert all(type(value) is Tensor for value in mine.state_dict().values())
    twin.load_state_dict(OrderedDict(mine.state_dict()))
    assert mine.state_dict(prefix="net.").keys() == {"net." + name for name in mine.state_dict()}
    mine.state_dict()["scale"].fill_(7)
    assert mine.scale.tolist() == [7.0, 7.0], "it shares storage, as PyTorch's does"


def test_load_state_dict_checks_before_it_changes_anything() -> None:
    mine = Net()
    state = {name: torch.full_like(value, 9) for name, value in mine.state_dict().items()}
    del state["scale"]
    state["extra"] = torch.ones(1)
    state["body.0.weight"] = torch.ones(5)
    with pytest.raises(RuntimeError) as error:
        mine.load_state_dict(state)
    for part in (
        "missing: scale",
        "unexpected: extra",
        "body.0.weight: has shape (2, 3), was given (5,)",
        "strict=False",
    ):
        assert part in str(error.value)
    assert not any((value == 9).any() for value in mine.state_dict().values())
    del state["body.0.weight"]
    missing, unexpected = mine.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["scale", "body.0.weight"], ["extra"])
    assert (mine.body[0].bias == 9).all()
    with pytest.raises(TypeError, match="expected a mapping"):
        mine.load_state_dict([1])  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="scale: expected a tensor, got int"):
        mine.load_state_dict({"scale": 1}, strict=False)  # type: ignore[dict-item]


def test_state_dict_as_pytorch_gives_it() -> None:
    mine = Net()
    given = mine.state_dict()
    assert type(given) is OrderedDict
    destination: dict[str, Any] = {"before": 1}
    assert mine.state_dict(destination=destination, prefix="net.", keep_vars=True) is destination
    assert list(destination) == ["before", *("net." + name for name in given)]
    assert destination["net.scale"] is mine.scale
    assert destination["net.mean"] is mine.mean
    assert repr(mine.load_state_dict(given)) == "<All keys matched successfully>"
    assert "missing_keys=['scale'" in repr(mine.load_state_dict({}, strict=False))


def test_tensors_of_autograd_and_parameters_are_taken_by_value() -> None:
    mine, twin = Net(), Twin()
    with torch.no_grad():
        twin.scale.fill_(3)
    mine.load_state_dict(twin.state_dict(keep_vars=True))
    assert mine.scale.tolist() == [3.0, 3.0]
    other = Net()
    mine.scale.data.fill_(4)
    other.load_state_dict(mine.state_dict(keep_vars=True), assign=True)
    assert other.scale is not mine.scale
    assert other.scale.tolist() == [4.0, 4.0]
    other.load_state_dict(twin.state_dict(keep_vars=True), assign=True)
    assert not Tensor.requires_grad.__get__(other.scale)
    assert type(other.state_dict()["scale"]) is Tensor


def test_assigning_takes_the_tensors_over() -> None:
    mine, optimized = Net(), None
    mine.scale.grad_f = False
    mine(torch.ones(1, 3)).sum().backward()
    optimized = mine.body[0].weight
    given = Net().double().state_dict()
    assert mine.load_state_dict(given, assign=True) == ([], [])
    assert mine.body[0].weight is optimized, "optimizers hold it"
    assert optimized.grad_v is None, "which was of the earlier dtype"
    assert not mine.scale.grad_f
    for name, value in mine.state_dict().items():
        assert value.dtype is given[name].dtype
        assert value.data_ptr() == given[name].data_ptr()
    with pytest.raises(RuntimeError, match=r"scale: a parameter needs a floating-point tensor, was given torch.int64"):
        mine.load_state_dict({**given, "scale": torch.ones(2, dtype=torch.int64)}, assign=True)


def test_what_is_on_meta_takes_values_by_assignment_only() -> None:
    mine, given = Net().to("meta"), Net().state_dict()
    mine.many[1].weight = mine.many[0].weight
    with pytest.raises(RuntimeError, match=r"scale: is on the meta device, which holds no values: write assign=True"):
        mine.load_state_dict(given)
    mine.load_state_dict(given, assign=True)
    assert mine.many[1].weight is mine.many[0].weight, "still tied"
    mine.scratch = torch.zeros(1)  # which no state_dict has
    mine(torch.ones(1, 3)).sum().backward()
    assert torch.equal(mine.scale.detach(), given["scale"])


def test_what_older_files_have_not_or_have_otherwise() -> None:
    """The count of batches is of version 2 of PyTorch's BatchNorm, and scalars had one dimension once."""
    mine, twin = nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    state = twin.state_dict()
    assert state._metadata[""]["version"] == 2
    del state["num_batches_tracked"]
    for module in (mine, twin):
        with pytest.raises(RuntimeError, match="num_batches_tracked"):
            module.load_state_dict(state)
        assert module.load_state_dict(dict(state)) == ([], []), "nothing is known of its version"
        assert module.load_state_dict({**state, "num_batches_tracked": torch.tensor([3])}) == ([], [])
        assert module.num_batches_tracked.item() == 3


def test_assignment() -> None:
    net = Net()
    net.absent = nn.Parameter(torch.ones(1))
    assert "absent" in dict(net.named_parameters())
    net.absent = None
    assert "absent" not in dict(net.named_parameters())
    net.mean = torch.ones(2)
    assert torch.equal(dict(net.named_buffers())["mean"], torch.ones(2))
    net.body = nn.Linear(3, 2)
    assert "body.weight" in net.state_dict()
    del net.scale
    assert "scale" not in net.state_dict()
    net.constant = nn.Identity()
    assert "constant" in dict(net.named_children())


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda m: setattr(m, "scale", torch.ones(2)), TypeError, r"Net.scale is a Parameter.*nn.Parameter\(tensor\)"),
        (lambda m: setattr(m, "scale", nn.Parameter(torch.ones(2)) * 2), TypeError, "is a Parameter"),
        (lambda m: setattr(m, "mean", 3.0), TypeError, "Net.mean is a buffer and was assigned float 3.0"),
        (lambda m: setattr(m, "mean", m.scale * 2), TypeError, "is a buffer"),
        (lambda m: setattr(m, "body", 3), TypeError, "Net.body is a module and was assigned int 3"),
        (lambda m: m.register_parameter("w", torch.ones(1)), TypeError, "expected nn.Parameter"),
        (lambda m: m.register_buffer("b", 3), TypeError, "expected a plain tensor"),
        (lambda m: m.add_module("x", 3), TypeError, "expected an nn.Module as 'x'"),
        (lambda m: m.add_module("a.b", nn.Identity()), KeyError, "a dot"),
        (lambda m: setattr(m, "forward", nn.Identity()), KeyError, "has an attribute 'forward' already"),
        (lambda m: m.get_submodule("body.9"), AttributeError, "no sub-module '9'"),
        (lambda m: m.get_parameter("body.x"), AttributeError, "no parameter 'x'"),
        (lambda m: m.to(torch.int64), TypeError, "floating-point dtype"),
        (lambda m: m.named["in"], KeyError, "there are 'out'"),
        (lambda m: m.nothing, AttributeError, "nothing"),
    ],
)
def test_errors(use: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        use(Net())


def test_a_forgotten_super_init_does_no_harm() -> None:
    class Short(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)

    assert list(Short().state_dict()) == ["layer.weight", "layer.bias"]


def test_properties_and_class_assignment() -> None:
    class Doubling(nn.ReLU):
        @property
        def x(self) -> int:
            return self._x

        @x.setter
        def x(self, value: int) -> None:
            self._x = 2 * value

    module: Any = nn.ReLU()
    module.__class__ = Doubling
    module.x = 5
    assert (type(module), module.x) == (Doubling, 10)


def test_tied_parameters_are_one() -> None:
    net = Net()
    net.many[1].weight = net.many[0].weight
    names = [name for name, _ in net.named_parameters()]
    assert "many.0.weight" in names
    assert "many.1.weight" not in names
    assert "many.1.weight" in net.state_dict()
    again = copy.deepcopy(net)
    assert again.many[1].weight is again.many[0].weight
    assert again.many[1].weight is not net.many[0].weight
    net.double()
    assert net.many[1].weight is net.many[0].weight
    both = nn.Sequential(net.body, net.body)
    assert len(list(both.modules())) == 1 + 4
    assert len(list(both.state_dict())) == 2 * len(net.body.state_dict())


def test_train_and_eval() -> None:
    net = Net()
    assert all(m.training for m in net.modules())
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert net.body[2].training


def test_train_asks_the_children() -> None:
    class Kept(nn.Sequential):
        def train(self, mode: bool = True) -> Any:
            super().train(mode)
            self[0].eval()
            return self

    net = nn.Sequential(Kept(nn.BatchNorm2d(3), nn.ReLU()))
    net.train()
    assert [m.training for m in net.modules()] == [True, True, False, True]


def test_freeze() -> None:
    net = Net()
    assert net.body.freeze() is net.body
    assert [n for n, p in net.named_parameters() if not p.grad_f] == [n for n, _ in net.body.named_parameters("body")]
    net.freeze()
    assert not any(p.grad_f for p in net.parameters())
    net.unfreeze()
    assert all(p.grad_f for p in net.parameters())


def test_zero_grad_and_apply() -> None:
    net = Net()
    net(torch.ones(1, 3)).sum().backward()
    assert net.scale.grad_v is not None
    net.zero_grad(set_to_none=False)
    assert not net.scale.grad_v.any()
    net.zero_grad()
    assert net.scale.grad_v is None
    seen: list[str] = []
    net.body.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "ReLU", "BatchNorm2d", "Sequential"]


def test_to() -> None:
    net = Net()
    weight = net.body[0].weight
    net(torch.ones(1, 3)).sum().backward()
    assert net.to(torch.float64) is net
    assert net.body[0].weight is weight, "optimizers hold it"
    assert weight.dtype is torch.float64
    assert weight.grad_v.dtype is torch.float64
    assert net.body[2].running_mean.dtype is torch.float64
    assert net.body[2].num_batches_tracked.dtype is torch.int64
    net.float()(torch.ones(1, 3)).sum().backward()
    assert net.half().scale.dtype is torch.float16
    assert net.bfloat16().cpu().double().scale.dtype is torch.float64
    assert net.to("meta").scale.device.type == "meta"


def test_copies_and_pickles() -> None:
    net = Net()
    net.body.freeze()
    x = torch.ones(2, 3)
    y = net(x)
    y.sum().backward()
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    for again in (
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        torch.load(file, weights_only=False),
    ):
        assert torch.equal(again(x).detach(), y.detach())
        assert again.scale.grad_v is None
        assert [p.grad_f for p in again.parameters()] == [p.grad_f for p in net.parameters()]
        again.scale.data.zero_()
        assert net.scale.all()
    shallow = copy.copy(net)
    assert shallow.scale is net.scale
    variable = copy.deepcopy(nn.Variable(x))
    assert torch.equal(variable.detach(), x)
    assert torch.equal(pickle.loads(pickle.dumps(nn.Variable(x))).detach(), x)


def test_repr_is_pytorchs() -> None:
    def both(n: Any) -> str:
        return repr(
            n.Sequential(
                n.Conv2d(1, 4, 3, padding=1, bias=False),
                n.BatchNorm2d(4),
                n.Sequential(n.ReLU(), n.MaxPool2d(2)),
                n.ModuleDict({"a": n.Flatten(), "b": n.Softmax(dim=1)}),
                n.AdaptiveAvgPool2d((1, 1)),
                n.Linear(4, 2),
                n.Identity(),
            )
        )

    without = "bias=True, track"  # which PyTorch says since 2.13
    assert both(nn).replace(without, "track") == both(torch.nn).replace(without, "track")


def test_containers() -> None:
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    line = nn.Sequential(OrderedDict(first=a, second=b))
    assert list(line) == [a, b]
    assert [n for n, _ in line.named_children()] == ["first", "second"]
    line[1] = c
    assert line[-1] is c
    assert [n for n, _ in line.named_children()] == ["first", "second"]
    listed = nn.ModuleList([a])
    assert list(listed.append(b).extend([c]).insert(0, c)) == [c, a, b, c]
    assert [n for n, _ in listed.named_children()] == ["0", "1", "2"], "one module under two names is named once"
    del listed[0]
    assert list(listed) == [a, b, c]
    assert listed.pop(1) is b
    assert list(listed[:1]) == [a]
    assert len(listed + nn.ModuleList([b])) == 3
    named = nn.ModuleDict({"a": a})
    named.update({"b": b})
    assert list(named) == ["a", "b"]
    assert "a" in named
    assert dict(named.items()) == {"a": a, "b": b}
    assert list(named.values()) == [a, b]
    assert named.pop("a") is a
    assert list(named.keys()) == ["b"]
    named.clear()
    assert len(named) == 0


@pytest.mark.parametrize("convert", [lambda m: m.double(), lambda m: m.to(memory_format=torch.channels_last)])
def test_converted_parameters_let_go_of_their_earlier_memory(convert: Any) -> None:
    module = nn.Conv2d(2, 3, 2)
    earlier = ref(module.weight.data.untyped_storage())
    bases = [p._base for p in module.parameters()]
    assert bases == [None, None]
    convert(module)
    assert earlier() is None
