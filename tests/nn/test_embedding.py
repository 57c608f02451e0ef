"""What Embedding does beyond the contract: rows that are scaled or left out, indices that are wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from modgrad import check, functional, nn
from modgrad.graph.tracing import Tracing, substituted


@pytest.mark.parametrize("formulas", [False, True], ids=["kernel", "formula"])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
def test_max_norm_scales_the_rows_taken_in_place(norm_type: float, formulas: bool) -> None:
    start, input = torch.randn(6, 3, dtype=torch.float64) * 2, torch.tensor([[0, 2, 2], [5, 0, 1]])
    options: dict[str, Any] = {"max_norm": 1.5, "norm_type": norm_type, "_weight": start.clone()}
    mine = nn.Embedding(6, 3, **options)
    theirs = torch.nn.Embedding(6, 3, **(options | {"_weight": start.clone()}))
    upstream = torch.randn(2, 3, 3, dtype=torch.float64)
    with functional.formulas() if formulas else nn.keep_values():
        y, twin = mine(input), theirs(input)
        y.backward(upstream)
    twin.backward(upstream)
    torch.testing.assert_close(y.detach(), twin.detach(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(mine.weight.data, theirs.weight.data, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(mine.weight.grad_v, theirs.weight.grad, rtol=1e-12, atol=1e-13)
    assert torch.equal(mine.weight.data[3:5], start[3:5]), "rows that were not taken stay"


def test_max_norm_changes_what_a_tied_layer_has_saved() -> None:
    table, head = nn.Embedding(6, 3, max_norm=0.1), nn.Linear(3, 6, bias=False)
    head.weight = table.weight
    loss = head(table(torch.tensor([1])).relu()).sum()
    table(torch.tensor([2]))
    with pytest.raises(RuntimeError, match="changed in place after forward"):
        loss.backward()


def test_max_norm_is_refused_where_a_step_must_be_pure() -> None:
    table = nn.Embedding(6, 3, max_norm=1.0)

    def step(weight: Any, input: Any) -> Any:
        with Tracing(), substituted(table, {"weight": weight}):
            return table(input)

    with pytest.raises(NotImplementedError, match="embedding_renormalized"):
        make_fx(step, tracing_mode="fake")(torch.randn(6, 3), torch.tensor([1]))


@pytest.mark.parametrize("formulas", [False, True], ids=["kernel", "formula"])
@pytest.mark.parametrize("max_norm", [None, 1.0])
def test_wrong_indices(formulas: bool, max_norm: float | None) -> None:
    table = nn.Embedding(4, 3, max_norm=max_norm)
    with functional.formulas() if formulas else nn.keep_values():
        for wrong in (4, -1):
            with pytest.raises(IndexError, match=rf"Embedding\(4, 3.*index {wrong} is out of .* 0 to 3"):
                table(torch.tensor([0, wrong]))
        for dtype in (torch.float32, torch.int16):
            with pytest.raises(TypeError, match="expected the numbers of rows, an int64 or int32 tensor"):
                table(torch.zeros(2, dtype=dtype))


def test_arguments_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="Write sparse=False"):
        nn.Embedding(4, 3, sparse=True)
    for padding_idx in (4, -5):
        with pytest.raises(ValueError, match=f"padding_idx={padding_idx}.*num_embeddings=4"):
            nn.Embedding(4, 3, padding_idx)
    with pytest.raises(ValueError, match="_weight must have this shape"):
        nn.Embedding(4, 3, _weight=torch.ones(3, 4))
    with pytest.raises(ValueError, match="expected \\(num_embeddings, embedding_dim\\)"):
        nn.Embedding.from_pretrained(torch.ones(3))


def test_from_pretrained() -> None:
    rows = torch.randn(4, 3)
    table = nn.Embedding.from_pretrained(rows, padding_idx=-1)
    assert not table.weight.grad_f
    assert table.weight.data_ptr() == rows.data_ptr()
    assert table.padding_idx == 3
    assert torch.equal(table.weight.data, rows), "the padding row too"
    assert nn.Embedding.from_pretrained(rows, freeze=False).weight.grad_f


def test_padding_row_starts_from_zero_and_stays() -> None:
    table = nn.Embedding(4, 3, padding_idx=1)
    assert table.weight.data[1].tolist() == [0.0] * 3
    table(torch.tensor([1, 1, 2])).sum().backward()
    assert table.weight.grad_v is not None
    assert table.weight.grad_v.tolist() == [[0.0] * 3, [0.0] * 3, [1.0] * 3, [0.0] * 3]


def test_a_frozen_one_keeps_nothing() -> None:
    table = nn.Embedding(4, 3)
    assert type(table.freeze()(torch.tensor([1]))) is torch.Tensor


def test_check_finds_it_right() -> None:
    model = nn.Sequential(nn.Embedding(4, 3), nn.LayerNorm(3), nn.GELU())
    report = check.gradients(model, torch.tensor([[0, 2], [2, 1]]))
    assert report.ok, str(report)
