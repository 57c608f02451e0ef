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


def bag_pair(*args: Any, **options: Any) -> tuple[nn.EmbeddingBag, torch.nn.EmbeddingBag]:
    mine, twin = nn.EmbeddingBag(*args, **options).double(), torch.nn.EmbeddingBag(*args, **options).double()
    mine.load_state_dict(twin.state_dict())
    return mine, twin


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_bags_of_every_form_are_pytorchs(mode: str, dtype: torch.dtype) -> None:
    """Empty bags, a batch of one, no numbers at all, rows that are renormalised, ties."""
    for numbers, offsets in [
        ([0, 2, 2, 1, 5], [0, 0, 3, 5]),
        ([3], [0]),
        ([], [0, 0]),
        ([[1, 2], [2, 2]], None),
        ([[4]], None),
    ]:
        for options in ({}, {"padding_idx": 2}, {"max_norm": 1.0}):
            mine, twin = bag_pair(6, 3, mode=mode, **options)
            mine.weight.data[1] = twin.weight.data[1] = twin.weight.data[2].clone()
            input = torch.tensor(numbers, dtype=dtype)
            given = None if offsets is None else torch.tensor(offsets, dtype=dtype)
            y, y_twin = mine(input, given), twin(input, given)
            torch.testing.assert_close(y.detach(), y_twin.detach(), rtol=1e-12, atol=1e-13)
            upstream = torch.randn_like(y_twin)
            y.backward(upstream)
            y_twin.backward(upstream)
            torch.testing.assert_close(mine.weight.grad_v, twin.weight.grad, rtol=1e-12, atol=1e-13)
            assert torch.equal(mine.weight.data, twin.weight.data)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags_scaled_by_frequency(mode: str) -> None:
    """Against Embedding: PyTorch's own bags take the counts of wrong numbers on the CPU."""
    bags, table = nn.EmbeddingBag(6, 3, mode=mode, scale_grad_by_freq=True), nn.Embedding(6, 3, scale_grad_by_freq=True)
    table.load_state_dict(bags.state_dict())
    input = torch.tensor([[5, 2, 2], [2, 1, 5]])
    y, rows = bags(input), table(input)
    expected = getattr(rows, mode)(1)
    torch.testing.assert_close(y.detach(), expected.detach())
    upstream = torch.randn(2, 3)
    y.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(bags.weight.grad_v, table.weight.grad_v)


def test_bags_begin_and_look_like_pytorchs() -> None:
    for options in ({}, {"mode": "sum", "padding_idx": -1, "max_norm": 2.0, "norm_type": 1.0}):
        layers: list[Any] = []
        for library in (nn, torch.nn):
            torch.manual_seed(5)
            layers.append(library.EmbeddingBag(6, 3, **options))
        assert torch.equal(layers[0].weight.data, layers[1].weight.data)
        assert repr(layers[0]) == repr(layers[1])
    frozen = nn.EmbeddingBag.from_pretrained(torch.ones(2, 3))
    assert not frozen.weight.grad_f
    assert type(frozen(torch.tensor([[0, 1]]))) is torch.Tensor
    assert nn.EmbeddingBag.from_pretrained(torch.ones(2, 3), freeze=False).weight.grad_f


def test_bags_explain_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="sparse=False"):
        nn.EmbeddingBag(6, 3, sparse=True)
    with pytest.raises(ValueError, match="expected 'sum', 'mean' or 'max'"):
        nn.EmbeddingBag(6, 3, mode="min")
    with pytest.raises(ValueError, match="frequencies scale a sum or a mean"):
        nn.EmbeddingBag(6, 3, mode="max", scale_grad_by_freq=True)
    with pytest.raises(ValueError, match=r"EmbeddingBag\(padding_idx=6\)"):
        nn.EmbeddingBag(6, 3, padding_idx=6)
    bags, input = nn.EmbeddingBag(6, 3), torch.tensor([1, 2, 3])
    with pytest.raises(ValueError, match="where each bag starts"):
        bags(input)
    with pytest.raises(ValueError, match="no offsets"):
        bags(input[None], torch.tensor([0]))
    for offsets in ([1], [0, 4], [0, 2, 1]):
        with pytest.raises(ValueError, match="offsets that do not fall, from 0 on"):
            bags(input, torch.tensor(offsets))
    with pytest.raises(ValueError, match="to end at 3, where the input ends"):
        nn.EmbeddingBag(6, 3, include_last_offset=True)(input, torch.tensor([0, 2]))
    with pytest.raises(IndexError, match="index 7 is out of range"):
        bags(torch.tensor([[7]]))
    with pytest.raises(TypeError, match="expected the numbers of rows"):
        bags(torch.ones(2, 2))
    with pytest.raises(ValueError, match="are for mode='sum'"):
        bags(input[None], None, torch.ones(1, 3))
    with pytest.raises(ValueError, match="as the input has"):
        nn.EmbeddingBag(6, 3, mode="sum")(input[None], None, torch.ones(3))
