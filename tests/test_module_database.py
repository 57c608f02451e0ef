"""PyTorch's own database of modules: every class and case of it, in float64.

Values, gradients of inputs and of parameters, buffers; with weights that came by state_dict. Lazy modules are left out.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db

from modgrad import nn

ENTRIES = {info.name.removeprefix("nn."): info for info in module_db if "Lazy" not in info.name}
# Not yet in modgrad. A class that is there must not be here.
MISSING = {name for name in ENTRIES if not hasattr(nn, name)}
TIGHT = {"rtol": 1e-7, "atol": 1e-9}


def cases(name: str) -> list[tuple[Any, bool]]:
    info = ENTRIES[name]
    modes = (True, False) if info.train_and_eval_differ else (True,)
    rows = []
    for training in modes:
        torch.manual_seed(0)
        given = {"device": "cpu", "dtype": torch.float64, "requires_grad": True, "training": training}
        rows += [(row, training) for row in info.module_inputs_func(info, **given)]
    return rows


def ours(x: Any, made: dict[int, tuple[Tensor, Any]]) -> Any:
    """An argument as modgrad takes it: a Variable for each tensor that wants a gradient."""
    if isinstance(x, PackedSequence):
        return PackedSequence(ours(x.data, made), *x[1:])
    if isinstance(x, Tensor) and x.requires_grad:
        if id(x) not in made:
            x.retain_grad()  # some are made of others
            made[id(x)] = x, nn.Variable(x.detach().clone())
        return made[id(x)][1]
    if isinstance(x, (list, tuple, dict)):
        return tree_map(lambda leaf: ours(leaf, made) if isinstance(leaf, Tensor) else leaf, x)
    return copy.deepcopy(x)


def floats(output: Any) -> list[Any]:
    """The outputs that have gradients, in order."""
    if isinstance(output, PackedSequence):
        return [output.data]
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    return [y for part in output or () for y in floats(part)] if isinstance(output, (list, tuple)) else []


def assert_alike(mine: Any, theirs: Any, what: str) -> None:
    mine, theirs = (None if x is None else x.detach() for x in (mine, theirs))
    if mine is None or theirs is None:
        other = theirs if mine is None else mine
        assert other is None or not other.any(), f"{what}: {mine} is not {theirs}"
        return
    torch.testing.assert_close(mine, theirs, equal_nan=True, msg=lambda m: f"{what}: {m}", **TIGHT)


def plain_constructor(row: Any) -> tuple[Any, Any]:
    """Arguments of the constructor, with modgrad's modules in place of PyTorch's."""

    def convert(x: Any) -> Any:
        if isinstance(x, torch.nn.Module):
            other = getattr(nn, type(x).__name__)
            return other(**_arguments_of(x)) if _arguments_of(x) else other()
        return x.detach().clone() if isinstance(x, Tensor) else x

    args, kwargs = row.constructor_input.args, row.constructor_input.kwargs
    return tuple(map(convert, args)), {name: convert(value) for name, value in kwargs.items()}


def _arguments_of(module: torch.nn.Module) -> dict[str, Any]:
    if isinstance(module, torch.nn.TransformerEncoderLayer):
        attention = module.self_attn
        return {
            "d_model": attention.embed_dim,
            "nhead": attention.num_heads,
            "dim_feedforward": module.linear1.out_features,
            "dropout": module.dropout.p,
            "batch_first": attention.batch_first,
            "norm_first": module.norm_first,
            "activation": module.activation,
            "bias": module.linear1.bias is not None,
        }
    return {}


def check(name: str, row: Any, training: bool) -> None:
    torch.manual_seed(1)
    twin = ENTRIES[name].module_cls(*row.constructor_input.args, **row.constructor_input.kwargs).double()
    args, kwargs = plain_constructor(row)
    module = getattr(nn, name)(*args, **kwargs).double()
    module.load_state_dict(twin.state_dict())
    assert list(module.state_dict()) == list(twin.state_dict())
    twin.train(training)
    module.train(training)
    made: dict[int, tuple[Tensor, Any]] = {}
    args, kwargs = (ours(x, made) for x in (row.forward_input.args, row.forward_input.kwargs))
    torch.manual_seed(2)
    theirs = floats(twin(*row.forward_input.args, **row.forward_input.kwargs))
    torch.manual_seed(2)
    mine = floats(module(*args, **kwargs))
    assert len(mine) == len(theirs)
    for i, (y, y_twin) in enumerate(zip(mine, theirs, strict=True)):
        assert_alike(y, y_twin, f"output {i}")
    wanted = [i for i, y in enumerate(theirs) if y.requires_grad]
    if not wanted:
        return
    upstream = {i: torch.randn_like(theirs[i]) for i in wanted}
    torch.autograd.backward([theirs[i] for i in wanted], list(upstream.values()))
    total: Any = 0
    for i, grad in upstream.items():
        total = (mine[i] * grad).sum() + total
    total.backward()
    for i, (x_twin, x) in enumerate(made.values()):
        assert_alike(x.grad_v, x_twin.grad, f"gradient of input {i}")
    for path, parameter in twin.named_parameters():
        assert_alike(module.get_parameter(path).grad_v, parameter.grad, f"gradient of {path}")
    for path, buffer in twin.named_buffers():
        assert_alike(module.state_dict().get(path, buffer), buffer, path)


@pytest.mark.filterwarnings("ignore")  # of PyTorch's modules, about themselves
@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.thorough)], ids=["some", "all"])
@pytest.mark.parametrize("name", sorted(set(ENTRIES) - MISSING))
def test_class(name: str, every: int) -> None:
    """All cases; in `make test`, of those classes that have very many, each eighth."""
    rows = cases(name)
    rows = rows[::every] if len(rows) > 60 else rows
    wrong = []
    for i, (row, training) in enumerate(rows):
        try:
            check(name, row, training)
        except Exception as error:
            given = row.constructor_input
            text = f"case {i} ({'training' if training else 'evaluation'}; {given.args} {given.kwargs}): "
            wrong.append(text + f"{type(error).__name__}: {error}")
    assert not wrong, f"{len(wrong)} of {len(rows)} cases:\n" + "\n".join(wrong[:5])


def test_count() -> None:
    """All of the database of PyTorch 2.13 is here."""
    if torch.__version__.startswith("2.13"):
        assert (len(ENTRIES), sum(len(cases(name)) for name in ENTRIES)) == (108, 2049)
