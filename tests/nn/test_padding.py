"""What padding layers do beyond the contract: arguments in every form, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from modgrad import functional, nn

KINDS = {"Constant": (2.0,), "Zero": (), "Reflection": (), "Replication": (), "Circular": ()}


@pytest.mark.parametrize("directions", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_attributes_and_repr_are_pytorchs(kind: str, directions: int) -> None:
    name = f"{kind}Pad{directions}d"
    for padding in (1, tuple(range(2 * directions)), list(range(2 * directions))):
        mine, theirs = getattr(nn, name)(padding, *KINDS[kind]), getattr(torch.nn, name)(padding, *KINDS[kind])
        assert repr(mine) == repr(theirs)
        assert mine.padding == theirs.padding
    assert isinstance(nn.ZeroPad2d(1), nn.ConstantPad2d)


def test_saves_nothing_and_gives_memory_of_its_own() -> None:
    for kind, arguments in KINDS.items():
        x = nn.Variable(torch.randn(2, 3, 4))
        y = getattr(nn, f"{kind}Pad1d")(0, *arguments)(x)
        assert y._source[0].saved == ()
        assert y.data_ptr() != x.data_ptr()
        upstream = torch.randn(2, 3, 4)
        y.backward(upstream)
        assert torch.equal(x.grad_v, upstream)
        assert x.grad_v.data_ptr() != upstream.data_ptr()


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("formulas", [False, True], ids=["kernel", "formula"])
def test_every_amount_as_in_pytorch(mode: str, formulas: bool) -> None:
    """All that PyTorch takes has its values and gradients; what it refuses is refused."""
    start = torch.randn(1, 2, 3, dtype=torch.float64)
    for before in range(-4, 5):
        for after in range(-4, 5):
            theirs = start.clone().requires_grad_()
            left = 3 + min(before, 0) + min(after, 0)
            if mode == "circular" and (left < 0 or left < max(before, after)):  # PyTorch goes on from nothing at times
                with pytest.raises(ValueError, match="the padding"):
                    F.pad(nn.Variable(start), (before, after), mode)
                continue
            try:
                twin = F.pad(theirs, (before, after), mode)
            except RuntimeError:
                with pytest.raises(ValueError, match="the padding"):
                    F.pad(nn.Variable(start), (before, after), mode)
                continue
            upstream = torch.randn_like(twin)
            twin.backward(upstream)
            mine = nn.Variable(start)
            with functional.formulas() if formulas else nn.keep_values():
                y = F.pad(mine, (before, after), mode)
                y.backward(upstream)
            assert torch.equal(y.detach(), twin.detach()), (before, after)
            torch.testing.assert_close(mine.grad_v, theirs.grad, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (
            lambda: nn.ReflectionPad1d(3)(torch.ones(2, 3)),
            r"more than the 2 elements .* 'reflect', in dimension -1",
        ),
        (lambda: nn.CircularPad1d(4)(torch.ones(2, 3)), "adds more than the 3 elements"),
        (lambda: nn.CircularPad1d((-2, 2))(torch.ones(2, 3)), "adds more than the 1 elements"),
        (lambda: nn.ReplicationPad2d((0, 0, -1, -1))(torch.ones(1, 2, 3)), "takes more away .* dimension -2"),
        (lambda: nn.ConstantPad1d((-3, -1), 0.0)(torch.ones(2, 3)), "takes more away .* dimension -1"),
        (lambda: nn.ZeroPad2d(1)(torch.ones(3)), r"expected two numbers .* got \(1, 1, 1, 1\)"),
        (lambda: nn.ZeroPad1d((1,))(torch.ones(3)), r"expected two numbers .* got \(1,\)"),
        (lambda: nn.ReflectionPad2d(1)(torch.ones(3, 3)), r"expected 3 or 4 dimensions for the padding \(1, 1, 1, 1\)"),
        (lambda: nn.CircularPad1d(1)(torch.ones(2, 2, 3, 3)), "expected 2 or 3 dimensions"),
    ],
)
def test_explains_what_it_was_given(use: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        use()
