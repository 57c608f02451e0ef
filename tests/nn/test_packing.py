"""Sequences of unlike lengths: packed, padded and given to recurrent layers, against PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from modgrad import nn
from modgrad.graph.tracing import Tracing, substituted

THEIRS, MINE = torch.nn.utils.rnn, nn.utils.rnn
EXACT = {"rtol": 1e-12, "atol": 1e-13}
LENGTHS = [[4, 3, 3, 1], [2, 4, 1, 4, 4, 2], [1], [3, 3]]


def assert_packed_alike(mine: Any, theirs: Any) -> None:
    for a, b in zip(mine, theirs, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            assert torch.equal(a.detach(), b.detach())


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("rest", [(), (2,), (2, 3)])
def test_packing_and_padding_give_pytorchs_values(lengths: list[int], batch_first: bool, rest: tuple[int, ...]) -> None:
    in_order = lengths == sorted(lengths, reverse=True)
    shape = (len(lengths), 5) if batch_first else (5, len(lengths))
    x = torch.randn(*shape, *rest)
    for given in (lengths, torch.tensor(lengths)):
        for enforce in [False, True][: 1 + in_order]:
            mine = MINE.pack_padded_sequence(x, given, batch_first, enforce)
            theirs = THEIRS.pack_padded_sequence(x, given, batch_first, enforce)
            assert_packed_alike(mine, theirs)
            for first, options in [(True, {}), (False, {"total_length": 6, "padding_value": 0.5})]:
                for packed in (mine, theirs):  # PyTorch's are taken as well
                    padded, known = MINE.pad_packed_sequence(packed, first, **options)
                    expected, known_there = THEIRS.pad_packed_sequence(theirs, first, **options)
                    assert torch.equal(padded, expected)
                    assert torch.equal(known, known_there)
    sequences = [torch.randn(length, *rest) for length in lengths]
    for side in ("right", "left"):
        mine = MINE.pad_sequence(sequences, batch_first, 0.5, side)
        assert torch.equal(mine, THEIRS.pad_sequence(sequences, batch_first, 0.5, side))
    assert_packed_alike(MINE.pack_sequence(sequences, in_order), THEIRS.pack_sequence(sequences, in_order))
    padded = MINE.pad_sequence(sequences, batch_first)
    for back in (
        MINE.unpad_sequence(padded, torch.tensor(lengths), batch_first),
        MINE.unpack_sequence(MINE.pack_sequence(sequences, in_order)),
    ):
        assert all(torch.equal(a, b) for a, b in zip(back, sequences, strict=True))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("given", [False, True], ids=["from zeros", "from hx"])
def test_a_layer_between_packing_and_padding(kind: str, lengths: list[int], given: bool) -> None:
    """From padded tensor to padded tensor, with first states, and gradients of everything."""
    mine: Any = getattr(nn, kind)(3, 4, 2, bidirectional=True).double()
    theirs: Any = getattr(torch.nn, kind)(3, 4, 2, bidirectional=True).double()
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(4, len(lengths), 3, dtype=torch.float64)
    states = [torch.randn(4, len(lengths), 4, dtype=torch.float64) for _ in range(2 if kind == "LSTM" else 1)]
    results = []
    for layer, rnn, leaf in [
        (mine, MINE, lambda t: nn.Variable(t.clone())),
        (theirs, THEIRS, lambda t: t.clone().requires_grad_()),
    ]:
        leaves: list[Any] = [leaf(x), *(map(leaf, states) if given else ())]
        hx = None if not given else leaves[1] if kind != "LSTM" else tuple(leaves[1:])
        packed = rnn.pack_padded_sequence(leaves[0], lengths, enforce_sorted=False)
        output, last = layer(packed, hx)
        assert isinstance(output, type(packed))
        padded, _ = rnn.pad_packed_sequence(output, batch_first=True)
        outputs = [padded, *(last if isinstance(last, tuple) else (last,))]
        torch.manual_seed(3)
        loss: Any = 0
        for y in outputs:
            loss = (y * torch.randn(y.shape, dtype=torch.float64)).sum() + loss
        loss.backward()
        grads = [leaf.grad for leaf in leaves] + [p.grad for p in layer.parameters()]
        results.append([*(y.detach() for y in outputs), *grads])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


def test_in_float32_packed_is_as_each_sequence_by_itself() -> None:
    """The loop over packed sequences against oneDNN's kernel on each."""
    layer = nn.LSTM(3, 4, bidirectional=True)
    sequences = [torch.randn(length, 3) for length in (5, 3, 3, 1)]
    output, (h_n, c_n) = layer(MINE.pack_sequence(sequences))
    for i, (sequence, y) in enumerate(zip(sequences, MINE.unpack_sequence(output), strict=True)):
        alone, (h, c) = layer(sequence)
        for a, b in [(y, alone), (h_n[:, i], h), (c_n[:, i], c)]:
            torch.testing.assert_close(a.detach(), b.detach())


@pytest.mark.parametrize("lengths", [[4, 3, 3, 1], [2, 4, 1]], ids=str)
def test_lengths_that_never_change_can_be_traced(lengths: list[int]) -> None:
    layer = nn.GRU(3, 4)
    state = layer.state_dict()

    def run(state: dict[str, Tensor], x: Tensor) -> Any:
        with Tracing(), substituted(layer, state):
            leaf = nn.Variable(x)
            output, last = layer(MINE.pack_padded_sequence(leaf, lengths, enforce_sorted=False))
            padded, _ = MINE.pad_packed_sequence(output)
            (padded.sum() + last.square().sum()).backward()
            return padded, last, leaf.grad_v

    x = torch.randn(4, len(lengths), 3)
    program = make_fx(run, tracing_mode="fake")(state, x)
    leaf = nn.Variable(x)
    output, last = layer(MINE.pack_padded_sequence(leaf, lengths, enforce_sorted=False))
    padded, _ = MINE.pad_packed_sequence(output)
    (padded.sum() + last.square().sum()).backward()
    for a, b in zip(program(state, x), (padded, last, leaf.grad_v), strict=True):
        assert isinstance(b, Tensor)
        torch.testing.assert_close(a, b.detach())


def test_lengths_that_are_data_are_refused_while_traced() -> None:
    layer = nn.GRU(3, 4)

    def run(x: Tensor, lengths: Tensor) -> Any:
        with Tracing():
            return layer(MINE.pack_padded_sequence(nn.Variable(x), lengths))

    def run_packed(x: Tensor, sizes: Tensor) -> Any:
        with Tracing():
            return layer(MINE.PackedSequence(nn.Variable(x), sizes))

    for function, x, numbers in [(run, torch.randn(4, 2, 3), [4, 2]), (run_packed, torch.randn(3, 3), [2, 1])]:
        with pytest.raises(NotImplementedError, match="in a step that is being traced they are not known"):
            make_fx(function, tracing_mode="fake")(x, torch.tensor(numbers))


def test_gradients_of_pytorchs_own_functions_on_variables() -> None:
    """The functions of PyTorch's rnn, called on Variables."""
    x = torch.randn(4, 3, 2, dtype=torch.float64)
    results = []
    for leaf in (nn.Variable(x.clone()), x.clone().requires_grad_()):
        packed = THEIRS.pack_padded_sequence(leaf, [2, 4, 3], enforce_sorted=False)
        padded, lengths = THEIRS.pad_packed_sequence(packed, total_length=5)
        assert lengths.tolist() == [2, 4, 3]
        again = THEIRS.pad_sequence([leaf[:2, 0], leaf[:, 1]], padding_side="left")
        (padded.square().sum() + (again * again.detach()).sum()).backward()
        results.append([packed.data.detach(), padded.detach(), again.detach(), leaf.grad])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


def test_bad_arguments_are_explained() -> None:
    x = torch.randn(4, 3, 2)
    for lengths in ([4, 3], [4, 3, 0], [5, 3, 1]):
        with pytest.raises(ValueError, match=r"a length from 1 to T for each of the N"):
            MINE.pack_padded_sequence(x, lengths)
    with pytest.raises(ValueError, match="Write enforce_sorted=False"):
        MINE.pack_padded_sequence(x, [1, 4, 2])
    packed = MINE.pack_padded_sequence(x, [4, 2, 1])
    with pytest.raises(ValueError, match="the longest sequence has 4 steps"):
        MINE.pad_packed_sequence(packed, total_length=3)
    for wrong in ([], [torch.randn(2, 3), torch.randn(2, 4)], [torch.tensor(1.0)]):
        with pytest.raises(ValueError, match="alike in all but L"):
            MINE.pad_sequence(wrong)
    with pytest.raises(ValueError, match="expected 'right' or 'left'"):
        MINE.pad_sequence([x], padding_side="top")
    with pytest.raises(ValueError, match="a length for each"):
        MINE.unpad_sequence(x, [1, 2])
    with pytest.raises(ValueError, match="expected a tensor on the CPU"):
        MINE.PackedSequence(x, [1, 2])  # type: ignore[arg-type]


def test_a_packed_sequence_is_converted() -> None:
    packed = MINE.pack_sequence([torch.randn(2, 3), torch.randn(4, 3)], enforce_sorted=False)
    assert packed.to(torch.float32) is packed
    assert not packed.is_cuda
    for other in (packed.double(), packed.double().float().half(), packed.double().cpu()):
        assert_packed_alike(other[1:], packed[1:])
        assert MINE.pad_packed_sequence(other)[0].dtype is other.data.dtype
    (made,) = {type(MINE.PackedSequence((packed.data, packed.batch_sizes)))}
    assert made is MINE.PackedSequence
