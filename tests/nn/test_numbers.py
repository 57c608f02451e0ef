"""Numbers that hold: every layer and loss that PyTorch has, at the edges, over PyTorch's own database of modules.

Empty batches and batches of one; bfloat16 and float16; NaN, infinities, very large numbers, denormals, zeros, and the
places where functions have kinks. Values and gradients as PyTorch gives them, NaN and infinities at the same places;
what it refuses is refused here. A class that is new in modgrad joins by itself.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map

from modgrad import nn
from tests.test_module_database import ENTRIES, MISSING, floats, plain_constructor

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore"),  # of PyTorch's modules, about themselves
]
ROWS = 5  # of each class and mode, from all over the database's
NAMES = sorted(set(ENTRIES) - MISSING)
Change = Callable[[Tensor], Tensor]


def special(*values: float) -> Change:
    """These values in place of every third, in turn."""

    def change(x: Tensor) -> Tensor:
        if not x.is_floating_point() or not x.numel():
            return x
        flat = x.reshape(-1)
        places = torch.arange(0, flat.numel(), 3)
        flat[places] = torch.tensor(values)[torch.arange(len(places)) % len(values)].to(x.dtype)
        return flat.reshape(x.shape)

    return change


def everywhere(value: float) -> Change:
    return lambda x: torch.full_like(x, value) if x.is_floating_point() else x


GRID = torch.tensor([-6.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0, 20.0])


def kinks(x: Tensor) -> Tensor:
    """Values where functions have kinks, and many that are the same."""
    if not x.is_floating_point():
        return x
    return GRID[torch.randint(len(GRID), x.shape, generator=torch.Generator().manual_seed(3))].to(x.dtype)


EDGES: dict[str, Change] = {
    "NaN": special(math.nan),
    "inf": special(math.inf),
    "-inf": special(-math.inf),
    "both infinities": special(math.inf, -math.inf),
    "1e4": special(1e4, -1e4),
    "1e30": special(1e30, -1e30),
    "denormals": special(1e-40, -1e-40),
    "zeros": everywhere(0.0),
    "ones": everywhere(1.0),
    "kinks": kinks,
    "empty": lambda x: x[:0] if x.dim() else x,
    "empty in the second dimension": lambda x: x[:, :0] if x.dim() > 1 else x,
    "one": lambda x: x[:1] if x.dim() else x,
}

# Where the batch is the second dimension, unless told otherwise.
SECOND = {"CTCLoss", "GRU", "LSTM", "MultiheadAttention", "RNN", "Transformer", "TransformerDecoder"} | {
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
}

# What is meant to differ: what the comparison says of it, and why.
REFUSED = "accepts what PyTorch refuses: "
DIFFERENT: dict[tuple[str, str], str] = {
    # PyTorch's derivative there is inf / inf; here it is its limit, 0.
    **{("Softsign", edge): "gradient of input 0" for edge in ("inf", "-inf", "both infinities")},
    # Of a weight that is repeated no times PyTorch asks for the first.
    **{(f"InstanceNorm{n}d", "empty"): f"{REFUSED}IndexError: select" for n in (1, 2, 3)},
    # Products of large numbers overflow on the way back through PyTorch's; here they are float64's, to 1e-7.
    ("LSTM", "1e30"): "gradient of .* is not .*nan",
    # It asks for a shape of which no number of elements tells the rest.
    **{(name, "empty"): f"{REFUSED}RuntimeError: cannot reshape" for name in SECOND if name.startswith("Transformer")},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """What is this small takes longer when it is shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def rows(name: str) -> list[tuple[Any, bool]]:
    info = ENTRIES[name]
    found = []
    for training in (True, False) if info.train_and_eval_differ else (True,):
        torch.manual_seed(0)
        given = {"device": "cpu", "dtype": torch.float32, "requires_grad": True, "training": training}
        every = info.module_inputs_func(info, **given)
        chosen = sorted({round(i * (len(every) - 1) / (ROWS - 1)) for i in range(ROWS)})
        found += [(every[i], training) for i in chosen]
    return found


Run = dict[str, Any] | Exception  # outputs and gradients by name, or what was raised


def run(module: Any, inputs: Any, leaves: list[Any]) -> Run:
    """Outputs, and gradients for random upstream ones, the same for the same outputs."""
    args, kwargs = inputs
    try:
        torch.manual_seed(2)
        outputs = floats(module(*args, **kwargs))
        torch.manual_seed(3)
        upstream = [torch.randn(y.shape).to(y.dtype) for y in outputs]
        pairs = [
            (y, u) for y, u in zip(outputs, upstream, strict=True) if isinstance(y, nn.Variable) or y.requires_grad
        ]
        if isinstance(module, torch.nn.Module):
            torch.autograd.backward([y for y, _ in pairs], [u for _, u in pairs])
        elif pairs:  # one way back: sums of two would make NaN of infinities
            total: Any = 0
            for y, grad in pairs:
                total = (y * grad).sum() + total
            total.backward()
    except Exception as error:
        return error
    found = {f"output {i}": y.detach() for i, y in enumerate(outputs)}
    found |= {f"gradient of input {i}": x.grad for i, x in enumerate(leaves)}
    return found | {f"gradient of {path}": parameter.grad for path, parameter in module.named_parameters()}


class Arguments:
    """What a module is called with, changed, as PyTorch and as modgrad takes it."""

    def __init__(self, row: Any, change: Change) -> None:
        self.change = change
        self.made: dict[int, tuple[Tensor, Any]] = {}
        given = row.forward_input.args, row.forward_input.kwargs
        self.theirs, self.mine = (self._mapped(given, which) for which in (0, 1))
        wanted = [pair for pair in self.made.values() if isinstance(pair[1], nn.Variable)]
        self.leaves = [x for x, _ in wanted], [x for _, x in wanted]

    def _mapped(self, x: Any, which: int) -> Any:
        if isinstance(x, PackedSequence):
            return PackedSequence(self._mapped(x.data, which), *x[1:])
        if isinstance(x, (tuple, list)):
            return type(x)(self._mapped(item, which) for item in x)
        return tree_map(lambda leaf: self._one(leaf, which), x)

    def _one(self, x: Any, which: int) -> Any:
        if isinstance(x, PackedSequence):
            return self._mapped(x, which)
        if not isinstance(x, Tensor):
            return copy.deepcopy(x)
        if id(x) not in self.made:
            changed = self.change(x.detach().clone())
            wanted = x.requires_grad and changed.is_floating_point()
            other = nn.Variable(changed.clone()) if wanted else changed.clone()
            self.made[id(x)] = changed.clone().requires_grad_(wanted), other
        return self.made[id(x)][which]


def modules(name: str, row: Any, training: bool, dtype: torch.dtype) -> tuple[Any, Any]:
    torch.manual_seed(1)
    twin = ENTRIES[name].module_cls(*row.constructor_input.args, **row.constructor_input.kwargs).to(dtype)
    args, kwargs = plain_constructor(row)
    module = getattr(nn, name)(*args, **kwargs).to(dtype)
    module.load_state_dict(twin.state_dict())
    return module.train(training), twin.train(training)


def compare(name: str, row: Any, training: bool, change: Change, dtype: torch.dtype = torch.float32) -> list[str]:
    """What differs from PyTorch's, in words."""
    module, twin = modules(name, row, training, dtype)
    arguments = Arguments(row, change)
    mine = run(module, arguments.mine, arguments.leaves[1])
    theirs = run(twin, arguments.theirs, arguments.leaves[0])

    @cache
    def exact() -> dict[str, Any]:
        """Of half precision, PyTorch's in float32, of the same numbers."""
        twin = modules(name, row, training, dtype)[1].float()
        arguments = Arguments(row, lambda x: change(x).float() if x.is_floating_point() else change(x))
        found = run(twin, arguments.theirs, arguments.leaves[0])
        assert isinstance(found, dict)
        return {what: None if x is None else x.to(dtype) for what, x in found.items()}

    if isinstance(theirs, NotImplementedError) and not isinstance(mine, Exception):  # it has no kernel
        theirs = exact()
    if isinstance(mine, Exception):
        return [] if isinstance(theirs, Exception) else [f"raises {type(mine).__name__}: {mine}"]
    if isinstance(theirs, Exception):
        return [f"{REFUSED}{type(theirs).__name__}: {theirs}"]
    assert mine.keys() == theirs.keys()
    wrong = []
    for what in theirs:
        problem = _problem(what, mine[what], theirs[what])
        if problem and dtype is not torch.float32 and mine[what] is not None:
            near = math.dist(*(x[what].double().flatten().tolist() for x in (mine, exact())))
            if near <= math.dist(*(x[what].double().flatten().tolist() for x in (theirs, exact()))):
                continue  # nearer than PyTorch's
        if problem:
            wrong.append(f"{what}: {problem}")
    return wrong


def _problem(what: str, mine: Any, theirs: Any) -> str:
    if mine is None or theirs is None:
        other = theirs if mine is None else mine
        return "" if other is None or not other.any() else f"{mine} is not {theirs}"
    if (mine.shape, mine.dtype) != (theirs.shape, theirs.dtype):
        return f"{tuple(mine.shape)}, {mine.dtype} is not {tuple(theirs.shape)}, {theirs.dtype}"
    for kind in (Tensor.isnan, Tensor.isposinf, Tensor.isneginf):
        if not torch.equal(kind(mine), kind(theirs)):
            return f"{mine.tolist()} is not {theirs.tolist()}"
    finite = theirs.isfinite()
    near = near_each if theirs.dtype is torch.float32 else near_together
    return near(what, mine[finite], theirs[finite]) if finite.any() else ""


def near_each(what: str, mine: Tensor, theirs: Tensor) -> str:
    """Of float32: each value, to some roundings (6e-8). A parameter's gradient is a sum over samples, whose terms may
    be as large as the largest of these sums."""
    atol = (
        1e-5 * max(1.0, float(theirs.abs().max())) if what.startswith("gradient of") and "input" not in what else 1e-5
    )
    if torch.allclose(mine, theirs, rtol=1e-5, atol=atol):
        return ""
    return f"{mine.tolist()} is not {theirs.tolist()}"


def near_together(what: str, mine: Tensor, theirs: Tensor) -> str:
    """Of half precision: as vectors, to some roundings. What lies between the operations is rounded too, at other
    places, and differences of large numbers keep few digits."""
    size = torch.linalg.vector_norm(theirs.double())
    difference = torch.linalg.vector_norm(mine.double() - theirs.double())
    if difference <= 8 * torch.finfo(mine.dtype).eps * size + torch.finfo(mine.dtype).tiny:
        return ""
    return f"{float(difference / size):.2g} of its length away"


def report(name: str, edge: str, found: list[tuple[Any, bool, list[str]]]) -> None:
    meant = DIFFERENT.get((name, edge))
    lines, known = [], 0
    for row, training, problems in found:
        given = (
            f"{'training' if training else 'evaluation'} {row.constructor_input.args} {row.constructor_input.kwargs}"
        )
        for problem in problems:
            if meant is not None and re.match(meant, problem):
                known += 1
            else:
                lines.append(f"{given}: {problem[:1000]}")
    assert not lines, f"{name}, {edge}:\n" + "\n".join(lines[:6])
    assert meant is None or known, f"{name}, {edge} differs no longer: take it out of DIFFERENT"


def every() -> list[Any]:
    chosen = [(name, edge) for name in NAMES for edge in EDGES if "second" not in edge or name in SECOND]
    return [pytest.param(name, edge, id=f"{name}-{edge}") for name, edge in chosen]


@pytest.mark.parametrize(("name", "edge"), every())
def test_edge(name: str, edge: str) -> None:
    report(name, edge, [(row, training, compare(name, row, training, EDGES[edge])) for row, training in rows(name)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_half(name: str, dtype: torch.dtype) -> None:
    def change(x: Tensor) -> Tensor:
        return x.to(dtype) if x.is_floating_point() else x

    found = [(row, training, compare(name, row, training, change, dtype)) for row, training in rows(name)]
    report(name, str(dtype), found)
