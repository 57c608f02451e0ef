"""Forward hooks, and Module's methods that look things up, replace and convert them."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch

from modgrad import nn


def model(n: Any) -> Any:
    torch.manual_seed(0)
    return n.Sequential(n.Linear(3, 4), n.ReLU(), n.Dropout(0.0), n.Sequential(n.Linear(4, 2)))


def outputs_of(n: Any, x: Any, **training: bool) -> Any:
    """What hooks saw, and what came out: the same for both libraries."""
    net, seen = model(n), []

    def name_of(module: Any) -> str:
        return type(module).__name__

    for module in net.modules():
        module.register_forward_pre_hook(lambda m, inputs: seen.append(("before", name_of(m), len(inputs))))
        module.register_forward_hook(
            lambda m, inputs, output: seen.append(("after", name_of(m), output.detach().clone()))
        )
    net[0].register_forward_pre_hook(lambda m, inputs: inputs[0] * 2)
    net[1].register_forward_hook(lambda m, inputs, output: output + 1)
    net[3].register_forward_hook(lambda m, inputs, output: seen.append("first"), prepend=True)
    net[3][0].register_forward_pre_hook(lambda m, args, kwargs: (args, kwargs), with_kwargs=True)
    net[3][0].register_forward_hook(lambda m, args, kwargs, output: output * 3, with_kwargs=True)
    y = net(x)
    y.sum().backward()
    return seen, y.detach(), [p.grad for p in net.parameters()]


def test_hooks_see_and_change_what_pytorchs_do() -> None:
    x = torch.randn(5, 3)
    (seen, *mine), (seen_there, *theirs) = outputs_of(nn, nn.Variable(x)), outputs_of(torch.nn, x)
    torch.testing.assert_close(mine, theirs)
    assert len(seen) == len(seen_there)
    for entry, twin in zip(seen, seen_there, strict=True):
        assert entry[:2] == twin[:2]
        if entry[0] == "after":
            torch.testing.assert_close(entry[2], twin[2])


def test_a_hook_is_removed() -> None:
    net, seen = model(nn), []
    handle = net[0].register_forward_hook(lambda *_: seen.append(1))
    net(torch.ones(1, 3))
    handle.remove()
    handle.remove()
    net(torch.ones(1, 3))
    with net[1].register_forward_pre_hook(lambda *_: seen.append(2)):
        net(torch.ones(1, 3))
    net(torch.ones(1, 3))
    assert seen == [1, 2]


def test_features_are_taken_and_trained_through() -> None:
    net, features = model(nn), []
    with net[1].register_forward_hook(lambda module, inputs, output: features.append(output)):
        y = net(torch.randn(2, 3))
    (y.sum() + features[0].square().sum()).backward()
    assert isinstance(features[0], nn.Variable)
    assert all(parameter.grad_v is not None for parameter in net.parameters())


def test_hooks_of_a_module_that_calls_itself_and_of_one_that_raises() -> None:
    class Nested(nn.Module):
        def forward(self, x: Any, depth: int) -> Any:
            if depth == 0:
                raise ValueError("the ground")
            return self(x, depth - 1) if depth > 1 else x

    nested, seen = Nested(), []
    nested.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[1]))
    nested(torch.ones(1), 3)
    assert seen == [3, 2, 1]
    with pytest.raises(ValueError, match="the ground"):
        nested(torch.ones(1), 0)
    nested(torch.ones(1), 1)
    assert seen == [3, 2, 1, 0, 1]


def test_hooks_of_a_cell_see_its_own_arguments() -> None:
    cell, seen = nn.LSTMCell(3, 4), []
    cell.register_forward_pre_hook(lambda m, inputs: seen.append([type(x).__name__ for x in inputs]))
    cell(torch.ones(3), (torch.zeros(4), torch.zeros(4)))
    cell(torch.ones(3), (torch.zeros(4), torch.zeros(4)))
    assert seen == [["Tensor", "tuple"]] * 2


def test_a_passing_layer_and_a_recomputed_one_have_hooks() -> None:
    net, seen = nn.Sequential(nn.Dropout(0.5), nn.recompute(nn.Tanh()), nn.Linear(3, 2)), []
    for module in net:
        module.register_forward_hook(lambda m, inputs, output: seen.append(type(m).__name__))
    for training in (True, False):
        net.train(training)(nn.Variable(torch.ones(2, 3))).sum().backward()
    assert seen == ["Dropout", "Tanh", "Linear"] * 2


def noted(module: Any, inputs: Any, output: Any) -> Any:
    return output * 0 + 7


def test_hooks_are_copied_and_pickled() -> None:
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(noted)
    twin = copy.deepcopy(layer)
    assert bool((twin(torch.ones(1, 2)) == 7).all())
    program = (
        "import pickle, sys, torch; layer = pickle.load(sys.stdin.buffer); "
        "assert bool((layer(torch.ones(1, 2)) == 7).all())"
    )
    done = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(layer), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_a_pre_hook_that_gives_back_something_else() -> None:
    layer = nn.Linear(2, 2)
    layer.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with pytest.raises(TypeError, match="expected None, or the pair"):
        layer(torch.ones(1, 2))


def test_buffers_and_submodules_by_path() -> None:
    net = nn.Sequential(nn.Sequential(nn.BatchNorm2d(3)), nn.ReLU())
    assert net.get_buffer("0.0.running_mean") is net[0][0].running_mean
    with pytest.raises(AttributeError, match="no buffer 'weight'"):
        net.get_buffer("0.0.weight")
    net.set_submodule("0.0", nn.Identity())
    assert isinstance(net[0][0], nn.Identity)
    net.set_submodule("0.1", nn.ReLU())
    assert len(net[0]) == 2
    with pytest.raises(AttributeError, match="no sub-module '2'"):
        net.set_submodule("0.2", nn.ReLU(), strict=True)
    with pytest.raises(AttributeError, match="no sub-module 'a'"):
        net.set_submodule("a.b", nn.ReLU())


def test_dtype_memory_and_values_of_all() -> None:
    layer = nn.BatchNorm2d(3)
    assert layer.type(torch.float64).weight.dtype is torch.float64
    assert layer.num_batches_tracked.dtype is torch.int64
    assert layer.share_memory().weight.is_shared()
    empty = nn.Linear(2, 3, device="meta").to_empty(device="cpu")
    assert empty.weight.device.type == "cpu"
    assert empty.weight.shape == (3, 2)


def test_tensors_are_assigned_from_a_state_dict() -> None:
    start = nn.Linear(2, 2).double().state_dict()
    net = nn.Sequential(nn.Linear(2, 2, device="meta"))
    net.append(net[0])
    net[0].bias.grad_f = False
    given = {f"{i}.{name}": value for i in range(2) for name, value in start.items()}
    assert net.load_state_dict(given, assign=True) == ([], [])
    assert net[0] is net[1]
    assert net[0].weight.data_ptr() == start["weight"].data_ptr()
    assert net[0].weight.dtype is torch.float64
    assert (net[0].weight.grad_f, net[0].bias.grad_f) == (True, False)
    net(torch.ones(1, 2, dtype=torch.float64)).sum().backward()
    assert net[0].weight.grad_v is not None
