"""Products by the library that is faster: the same values, in memory without gaps."""

from __future__ import annotations

import pytest
import torch

from modgrad.functional.product import affine, product, turned


@pytest.mark.parametrize(("rows", "inner", "columns"), [(512, 1024, 64), (64, 1024, 512), (512, 64, 128), (3, 4, 5)])
@pytest.mark.parametrize("first", [False, True], ids=["a", "a^T"])
@pytest.mark.parametrize("second", [False, True], ids=["b", "b^T"])
def test_a_product_of_matrices_however_they_lie(rows: int, inner: int, columns: int, first: bool, second: bool) -> None:
    a = torch.randn(inner, rows).t() if first else torch.randn(rows, inner)
    b = torch.randn(columns, inner).t() if second else torch.randn(inner, columns)
    result = product(a, b)
    torch.testing.assert_close(result, (a.double() @ b.double()).float(), rtol=1e-5, atol=1e-4)
    assert result.is_contiguous()
    bias = torch.randn(columns)
    torch.testing.assert_close(affine(a, b.t(), bias), result + bias, rtol=1e-5, atol=1e-4)


def test_which_products_are_turned() -> None:
    """Those whose first matrix would be copied, where that is more than what turning copies."""
    assert turned(512, 128, torch.empty(1792, 512).t())
    assert not turned(512, 128, torch.empty(512, 1792)), "it is copied only if it is transposed"
    assert not turned(512, 128, torch.empty(1792, 600)[:, :512].t()), "nor does oneDNN take one with gaps well"
    assert not turned(128, 512, torch.empty(1792, 128).t())
    assert not turned(512, 128, torch.empty(64, 512).t())
