"""Products of matrices are the same by either library, at every size where one takes over from the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad.functional import product as module
from modgrad.functional.product import add_product_, affine, prefers_onednn, product, worth

SIZES = [(3, 4, 5), (0, 4, 5), (1, 2000, 2000), (200, 120, 130), (130, 1, 20000)]  # rows, inner, columns


@pytest.fixture(params=["onednn", "aten"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Either one, wherever the test runs; the shapes that oneDNN was given."""
    given: list[tuple[int, ...]] = []
    operation = torch.ops.mkldnn._linear_pointwise.default

    def onednn(a: Tensor, b: Tensor, *rest: Any) -> Tensor:
        given.append((*a.shape, b.shape[0]))
        return operation(a, b, *rest)

    if request.param == "onednn" and not torch.backends.mkldnn.is_available():
        request.param = "aten"
    monkeypatch.setattr(module, "_onednn", onednn if request.param == "onednn" else None)
    monkeypatch.setattr(module, "_WORTH", 1_000_000)
    return given


def same(found: Tensor, expected: Tensor, inner: int) -> None:
    """Of n products of normal numbers each partial sum is about sqrt(n), and n of them are rounded, by 6e-8 each: the
    error is about 6e-8 n; three of these are allowed."""
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1.8e-7 * inner + 1e-6)


@pytest.mark.parametrize(("rows", "inner", "columns"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_product(library: list[Any], rows: int, inner: int, columns: int, dtype: torch.dtype) -> None:
    a, b = torch.randn(rows, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
    expected = a.double() @ b.double()
    if dtype is torch.bfloat16:
        assert torch.equal(product(a, b), a @ b)
        return
    for matrix in (b, b.t().contiguous().t()):  # by rows, and as a weight lies
        same(product(a, matrix), expected, inner)
        same(product(a.t().contiguous().t(), matrix), expected, inner)
    assert not library or dtype is torch.float32


@pytest.mark.parametrize(("rows", "inner", "columns"), SIZES)
@pytest.mark.parametrize("bias", [False, True])
def test_affine(library: list[Any], rows: int, inner: int, columns: int, bias: bool) -> None:
    x, weight = torch.randn(2, rows, inner), torch.randn(columns, inner)
    b = torch.randn(columns) if bias else None
    expected = x.double() @ weight.double().t() + (0 if b is None else b.double())
    same(affine(x, weight, b), expected, inner)
    same(affine(x[0], weight, b), expected[0], inner)


@pytest.mark.parametrize(("rows", "inner", "columns"), [*SIZES, (40000, 30, 60)])
def test_add_product(library: list[Any], rows: int, inner: int, columns: int) -> None:
    total, a, b = torch.randn(rows, columns), torch.randn(rows, inner), torch.randn(inner, columns)
    expected, where = total.double() + a.double() @ b.double(), total.data_ptr()
    add_product_(total, a, b)
    assert total.data_ptr() == where
    same(total, expected, inner)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")
def test_who_does_what(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    operation = torch.ops.mkldnn._linear_pointwise.default
    monkeypatch.setattr(module, "_onednn", lambda *a: (given.append(a[0].shape), operation(*a))[1])
    large, small = torch.randn(200, 200), torch.randn(20, 20)
    assert worth(200, 200, 200)
    assert not worth(20, 20, 20)
    assert not worth(10**7, 1, 10**7)  # a vector's product is bound by memory, not by arithmetic
    calls: list[tuple[Callable[[], Any], bool]] = [
        (lambda: product(large, large), True),
        (lambda: affine(large, large), True),
        (lambda: product(small, small), False),
        (lambda: product(large.double(), large.double()), False),
        (lambda: affine(large.bfloat16(), large.bfloat16()), False),
    ]
    for call, by_onednn in calls:
        given.clear()
        call()
        assert bool(given) == by_onednn


def test_wrong_shapes_raise() -> None:
    with pytest.raises(RuntimeError):
        product(torch.ones(200, 300), torch.ones(200, 300))
    with pytest.raises(RuntimeError):
        affine(torch.ones(200, 300), torch.ones(200, 200))


def test_where_onednn_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def on(maker: str, capability: str) -> bool:
        information = tmp_path / maker
        information.write_text(f"vendor_id\t: {maker}\n")
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        prefers_onednn.cache_clear()
        return prefers_onednn(information)

    try:
        has = torch.backends.mkldnn.is_available()
        assert on("AuthenticAMD", "AVX512") == has
        assert not on("GenuineIntel", "AVX512")
        assert not on("AuthenticAMD", "AVX2")
    finally:
        prefers_onednn.cache_clear()
