"""Operators on Variables, beside their values: names, arguments, errors, what they keep, where their formulas are."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

import modgrad
from modgrad import nn
from modgrad.graph.dispatch import OPERATORS
from modgrad.graph.tracing import Tracing
from modgrad.nn.operators import elementwise, listing

T: Any = Tensor
special: Any = torch.special


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


# Names


@pytest.mark.parametrize(
    ("name", "others"),
    [
        *(
            (name, [getattr(torch, f"arc{name[1:]}"), getattr(T, f"arc{name[1:]}")])
            for name in ("asin", "acos", "atan")
        ),
        *((name, [getattr(torch, f"arc{name[1:]}")]) for name in ("asinh", "acosh", "atanh", "atan2")),
        *((name, [getattr(special, name)]) for name in ("digamma", "erf", "erfc", "erfinv", "exp2", "expm1", "log1p")),
        *((name, [getattr(special, name)]) for name in ("i0", "logit", "logsumexp", "sinc", "xlogy")),
        ("digamma", [special.psi]),
        ("lgamma", [special.gammaln]),
        ("mvlgamma", [special.multigammaln]),
        ("sigmoid", [special.expit]),
        ("abs", [torch.absolute, T.absolute, T.__abs__]),
        ("neg", [torch.negative, T.negative, T.__neg__]),
        ("add", [T.__add__, T.__radd__]),
        ("sub", [torch.subtract, T.subtract, T.__sub__]),
        ("mul", [torch.multiply, T.multiply, T.__mul__, T.__rmul__]),
        ("div", [torch.divide, T.divide, T.__truediv__, T.__div__]),
        ("matmul", [T.__matmul__, torch.linalg.matmul]),
        ("outer", [torch.ger, T.ger]),
        ("vstack", [torch.row_stack]),
        ("cat", [torch.concat, torch.concatenate]),
        ("movedim", [torch.moveaxis, T.moveaxis]),
        ("transpose", [torch.swapaxes, torch.swapdims, T.swapaxes, T.swapdims]),
        ("adjoint", [T.adjoint, T.mH.__get__, T.H.__get__]),
    ],
)
def test_other_names(name: str, others: list[Any]) -> None:
    assert all(OPERATORS[other] == OPERATORS[getattr(torch, name)] for other in others)


def test_chain_matmul_warns_in_pytorch_only() -> None:
    x = nn.Variable(normal(2, 3))
    y = torch.chain_matmul(x, normal(3, 4), normal(4, 1))
    assert y.shape == (2, 1)


def test_arguments_by_name() -> None:
    x = nn.Variable(normal(2, 3))
    assert x.permute(dims=(1, 0)).shape == x.expand(size=(2, 3)).flip(dims=(0,)).mT.shape
    assert x.repeat(repeats=(2, 1)).shape == x.tile(dims=(2, 1)).shape == (4, 3)
    assert torch.max(input=x, dim=1, keepdim=True).values.shape == (2, 1)
    assert torch.sort(x, stable=True, dim=0, descending=True).indices.dtype == torch.int64
    assert torch.sin(input=x).shape == torch.atan2(input=x, other=x).shape == (2, 3)
    assert x.type(torch.float32).dtype == x.to(normal(1).float()).dtype == x.float().type_as(x.float()).dtype
    assert x.type() == "torch.DoubleTensor"
    assert x.cpu() is x
    assert x.real is x
    assert torch.where(x > 0)[0].dtype == torch.int64


def test_results_are_named_as_pytorchs() -> None:
    x = nn.Variable(normal(2, 3))
    for use in (
        *(lambda x, n=n: getattr(x, n)(0) for n in ("max", "min", "median", "nanmedian", "mode", "sort", "cummax")),
        *(lambda x: x.topk(2), lambda x: x.kthvalue(1), lambda x: x.aminmax(dim=0), lambda x: x.cummin(1)),
        torch.frexp,
    ):
        mine, theirs = use(x), use(x.detach())
        assert type(mine) is type(theirs)
        assert type(mine[0]) is nn.Variable


# What PyTorch does not do itself


def test_scatter_reads_a_part_of_a_larger_source() -> None:
    index = torch.tensor([[0, 1], [2, 0]])
    x, source = normal(2, 4), normal(3, 3)
    for use in (
        lambda x, s: x.scatter(1, index, s),
        lambda x, s: x.scatter_add(1, index, s),
        lambda x, s: x.scatter_reduce(1, index, s, "mean"),
    ):
        mine, theirs = nn.Variable(source.clone()), source[:2, :2].clone().requires_grad_()
        y, twin = use(x, mine), use(x, theirs)
        upstream = normal(2, 4)
        y.backward(upstream)
        twin.backward(upstream)
        assert torch.equal(y.detach(), twin.detach())
        expected = torch.zeros_like(source)
        expected[:2, :2] = theirs.grad
        torch.testing.assert_close(mine.grad_v, expected, rtol=1e-12, atol=0)


def test_masked_scatter_without_a_source() -> None:
    x = nn.Variable(normal(3))
    x.masked_scatter(torch.zeros(3, dtype=torch.bool), normal(0)).sum().backward()
    assert torch.equal(x.grad_v, torch.ones_like(x.grad_v))
    with pytest.raises(RuntimeError):
        x.masked_scatter(torch.ones(3, dtype=torch.bool), normal(0))
    with pytest.raises((IndexError, RuntimeError)):
        x.masked_scatter(torch.ones(3, dtype=torch.bool), normal(2))


@pytest.mark.parametrize("sizes", [(5, 2, 7, 3, 4), (2, 9, 1), (3, 3, 3, 3, 3, 3)])
def test_multi_dot_takes_any_order(sizes: tuple[int, ...]) -> None:
    matrices = [normal(a, b) for a, b in pairwise(sizes)]
    mine, theirs = [nn.Variable(m.clone()) for m in matrices], [m.clone().requires_grad_() for m in matrices]
    torch.linalg.multi_dot(mine).sum().backward()
    torch.linalg.multi_dot(theirs).sum().backward()
    for x, twin in zip(mine, theirs, strict=True):
        torch.testing.assert_close(x.grad_v, twin.grad, rtol=1e-12, atol=1e-13)


# What is kept


@pytest.mark.parametrize(
    "use",
    [
        lambda x, i: x.gather(0, i),
        lambda x, i: x.index_select(0, i),
        lambda x, i: x.take(i),
        lambda x, i: x.index_put((i,), normal(3)),
        lambda x, i: x.scatter_add(0, i, x),
        lambda x, i: x.index_copy(0, i, x),
    ],
)
def test_a_changed_index_is_found(use: Callable[..., Any]) -> None:
    index = torch.tensor([2, 0, 1])
    y = use(nn.Variable(normal(3)), index)
    index[0] = 1
    with pytest.raises(RuntimeError, match="changed in place after forward"):
        y.sum().backward()


@pytest.mark.parametrize(
    ("use", "kept"),
    [
        (lambda x, y: torch.maximum(x, y), 2),
        (lambda x, y: torch.lerp(x, y, 0.5), 0),
        (lambda x, y: torch.lerp(x.detach(), y, x.detach()), 1),
        (lambda x, y: torch.addcmul(x, x.detach(), y), 1),
        (lambda x, y: torch.where(x > 0, x, y), 1),
        (lambda x, y: x.cumsum(0), 0),
        (lambda x, y: x.sum(0), 0),
        (lambda x, y: x.sin(), 1),
        (lambda x, y: x.fmod(2), 0),
        (lambda x, y: x.fmod(y.detach()), 0),
        (lambda x, y: x.index_add(0, torch.tensor([0, 1]), y.detach()), 0),
    ],
)
def test_no_more_is_kept_than_is_wanted(use: Callable[..., Any], kept: int) -> None:
    result = use(nn.Variable(normal(2)), nn.Variable(normal(2)))
    assert sum(isinstance(value, Tensor) for value in result._source[0].saved) == kept


# Errors


@pytest.mark.parametrize(
    ("use", "error", "match"),
    [
        (lambda x: x.mm(x[0]), ValueError, r"mm: expected tensors of 2 and 2 dimensions.*torch.matmul takes any"),
        (lambda x: torch.bmm(x[None], x.expand(2, 2, 2)), ValueError, "torch.matmul broadcasts"),
        (lambda x: x.dot(x), ValueError, "dot: expected"),
        (lambda x: torch.addmm(normal(3, 1, 2), x, x), ValueError, "does not broadcast"),
        (lambda x: torch.einsum("ij,jk", x), ValueError, "2 terms for 1 tensors"),
        (lambda x: torch.einsum("ijk->i", x), ValueError, "does not fit a tensor of 2 dimensions"),
        (lambda x: torch.einsum("ij->ik", x), ValueError, "each name in the output"),
        (lambda x: torch.einsum("ij->ii", x), ValueError, "each name in the output"),
        (lambda x: torch.einsum("i1->i", x), ValueError, "letters and one ellipsis"),
        (lambda x: torch.einsum("ij,jk", x, normal(3, 2)), ValueError, "'j' is 2 in one tensor and 3 in another"),
        (lambda x: torch.norm(x, "nuc"), RuntimeError, "singular values.*ord='fro'"),
        (lambda x: torch.linalg.norm(x, 2), RuntimeError, "singular values"),
        (lambda x: torch.linalg.norm(x[None], 1), ValueError, "say which dimensions"),
        (lambda x: x.masked_fill(x, 1.0), TypeError, r"write mask.bool\(\)"),
        (lambda x: x.masked_fill(x > 0, x), ValueError, r"write torch.where\(mask, value, x\)"),
        (lambda x: x.scatter(0, torch.tensor([[0]]), 1.0, reduce="add"), RuntimeError, "write scatter_reduce"),
        (lambda x: x.gather(0, torch.tensor([[0]]), sparse_grad=True), RuntimeError, "dense here"),
        (lambda x: x.repeat(2), ValueError, "say how often for each dimension"),
        (lambda x: x[None].trace(), ValueError, "expected a matrix"),
        (lambda x: x[None].diag(), ValueError, "expected a vector or a matrix"),
        (lambda x: x.movedim((0, 1), (0, 0)), ValueError, "each once"),
        (lambda x: x.hsplit(3), ValueError, "equal pieces"),
        (lambda x: x.tensor_split(0), ValueError, "expected 1 or more"),
        (lambda x: x[0].vsplit(1), ValueError, "2 dimensions or more"),
        (lambda x: x.dsplit(1), ValueError, "3 dimensions or more"),
        (lambda x: torch.meshgrid(x[0], indexing="yx"), ValueError, 'expected "ij" or "xy"'),
        (lambda x: torch.cross(x, x), ValueError, "no dimension has 3 values"),
        (lambda x: torch.linalg.cross(x, x[0]), ValueError, "they must have as many"),
        (lambda x: torch.cdist(x, x, compute_mode="fast"), ValueError, "expected one of"),
        (lambda x: x.take_along_dim(torch.tensor([0]), 0), ValueError, "have as many dimensions"),
        (lambda x: x.quantile(1.5), ValueError, "expected a number from 0 to 1"),
        (lambda x: x.quantile(0.5, interpolation="cubic"), ValueError, "expected linear"),
        (lambda x: x.sum_to_size(3, 2), ValueError, "does not broadcast"),
        (lambda x: torch.tensordot(x, x, 3), ValueError, "tensordot"),
        (lambda x: torch.tensordot(x, normal(3, 2), 1), ValueError, "differ"),
        (lambda x: torch.cov(x[None]), ValueError, "variables in rows"),
        (lambda x: x.cumsum(2), IndexError, "expected -2 to 1"),
        (lambda x: x.clamp(), RuntimeError, "At least one of"),
        (lambda x: x[x], TypeError, "an index has no gradient"),
    ],
)
def test_errors(use: Callable[..., Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        use(nn.Variable(normal(2, 2)))


# As a program


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x.amax(0) + x.max(0).values + x.sort(0).values[0] + x.logsumexp(0) + x.norm(dim=0),
        lambda x: x.var(0) + x.std(0, correction=0) + x.cumprod(0)[-1] + x.prod(0),
        lambda x: torch.einsum("bi,bj->ij", x, x).sum(0) + torch.einsum("bi,i->b", x, x[0]).sum(),
        lambda x: x.repeat(2, 1)[3] + x.flip(0)[0] + x.roll(1, 0)[1] + x.repeat_interleave(2, 0)[0],
        lambda x: x.gather(0, torch.zeros(1, 4, dtype=torch.int64)) + x[torch.tensor([0, 1])].sum(0),
        lambda x: torch.where(x > 0, x, 0.5).clamp(max=1).sum(0) + torch.cdist(x, x[:2]).sum(),
        lambda x: torch.stack(torch.meshgrid(x[:, 0], x[0], indexing="ij")).sum() + x.unfold(1, 2, 1).sum(),
    ],
)
def test_a_free_batch_size_stays_free(use: Callable[..., Any]) -> None:
    def step(value: Tensor) -> Any:
        with Tracing():
            x = nn.Variable(value)
            use(x).sum().backward()
            return x.grad_v

    program = make_fx(step, tracing_mode="symbolic")(normal(6, 4))
    for size in (6, 9):
        value = normal(size, 4)
        x = nn.Variable(value)
        use(x).sum().backward()
        torch.testing.assert_close(program(value), x.grad_v, rtol=1e-12, atol=1e-13)


# The listing


def test_listing_finds_the_formulas() -> None:
    by_name = {name: entry for entry in listing.entries() for name in entry.names}
    assert by_name["torch.sin"].place == "nn/operators/elementwise.py: Sin"
    assert by_name["torch.Tensor.sin"].formulas == tuple(
        f"functional/elementwise/trigonometric.py: {name}" for name in ("sin", "sin_backward")
    )
    assert by_name["torch.lerp"].formulas == tuple(
        f"functional/elementwise/mixing.py: lerp{rest}" for rest in ("", "_grad_input", "_grad_end", "_grad_weight")
    )
    assert by_name["torch.max"].primitives == ("MaxAlong", "Max")
    assert "functional/arithmetic.py: mul_grad_other" in by_name["torch.Tensor.__rmul__"].formulas
    assert by_name["torch.topk"].primitives == ("Topk",)
    assert by_name["torch.matmul"].primitives == ("MatMul",)
    assert {name for entry in by_name.values() for name in entry.names} == set(by_name)


def test_every_operator_is_listed_with_its_formulas() -> None:
    """What names no formula is made of other operators, copies, or gives its input."""
    package = Path(modgrad.__file__).parent
    for entry in listing.entries():
        for place in (entry.place, *entry.formulas):
            file, function = place.split(": ")
            assert (package / file).exists(), place
            generated = function == "call" or hasattr(elementwise, function) or not entry.place.startswith("nn/oper")
            assert generated or function in (package / file).read_text() or entry.primitives, place
    bare = {name for e in listing.entries() if e.primitives and not e.formulas for name in e.primitives}
    assert bare <= {"Copy"}


def test_classes_of_the_tables_can_be_pickled() -> None:
    for module in (
        nn.Variable(normal(2)).sin().previous_module,
        torch.fmax(*2 * [nn.Variable(normal(2))]).previous_module,
    ):
        assert type(pickle.loads(pickle.dumps(module))) is type(module)
        assert type(module).__doc__
