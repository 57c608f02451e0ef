"""Every function that has both bodies: kernel and formula are equal in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import functional
from modgrad.functional.kernel import PAIRS, running_formulas


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def _cross_entropy(**options: Any) -> list[tuple[Any, ...]]:
    weight = torch.rand(3, dtype=torch.float64)
    classes = torch.tensor([0, 2, -100, 1])
    maps = torch.tensor([[0, 2], [-100, 1]]).reshape(2, 1, 2)
    return [
        (x, target, w, -100, reduction, 0.0)
        for x, target in [(normal(4, 3), classes), (normal(2, 3, 1, 2), maps)]
        for w in (None, weight)
        for reduction in ("mean", "sum", "none")
    ]


def _cross_entropy_grad_input() -> list[tuple[Any, ...]]:
    rows = []
    for x, target, weight, ignored, reduction, smoothing in _cross_entropy():
        loss, log_p, divisor = functional.cross_entropy(x, target, weight, ignored, reduction, smoothing)
        rows.append((torch.randn_like(loss), log_p, target, divisor, weight, ignored, reduction, smoothing))
    return rows


def _linear_cross_entropy(reductions: tuple[str, ...], wanted: bool = False) -> list[tuple[Any, ...]]:
    """For each kind of target, smoothing and reduction; in one piece, and by two rows."""
    h, W, b = normal(5, 4), normal(3, 4), normal(3)
    indices = torch.tensor([0, 2, -100, 1, 2])
    flags = ((True, True, True),) if wanted else ()
    return [
        (h, W, bias, target, weight, -100, reduction, smoothing, *flags, rows)
        for target in (indices, normal(5, 3).softmax(1))
        for bias, weight in ((None, None), (b, positive))
        for smoothing in (0.0, 0.1)
        for reduction in reductions
        for rows in (None, 2)
    ]


def _linear_cross_entropy_backward() -> list[tuple[Any, ...]]:
    rows = _linear_cross_entropy(("mean", "sum", "none"), wanted=True)
    return [(normal(5) if row[6] == "none" else normal(), *row) for row in rows]


CONVOLUTIONS: list[tuple[Any, ...]] = [  # input, weight, stride, padding, dilation, groups
    ((2, 4, 6, 5), (3, 4, 3, 2), (1, 1), (0, 0), (1, 1), 1),
    ((2, 4, 9, 8), (6, 2, 3, 2), (3, 2), (1, 2), (1, 1), 2),
    ((2, 2, 9, 10), (3, 2, 3, 3), (2, 3), (0, 1), (2, 1), 1),
    ((1, 3, 10, 9), (2, 3, 1, 1), (4, 4), (0, 0), (1, 1), 1),
    ((3, 4, 5, 5), (8, 1, 3, 3), (1, 2), (1, 1), (1, 2), 4),
]


def _convolution_gradients(with_input: bool) -> list[tuple[Any, ...]]:
    rows = []
    for input_shape, weight_shape, *options in CONVOLUTIONS:
        input, weight = normal(*input_shape), normal(*weight_shape)
        grad = torch.randn_like(functional.conv2d(input, weight, None, *options))
        rows.append((grad, input, weight.shape, *options) if with_input else (grad, input.shape, weight, *options))
    return rows


def _batch_norm_backward() -> list[tuple[Any, ...]]:
    input = normal(4, 3, 2, 2) * 3 + 1
    _, mean, scale, _ = functional.batch_norm(input, None, None, 1e-5)
    return [(normal(4, 3, 2, 2), input, mean, scale, w) for w in (normal(3), None)]


def _layer_norm_backward() -> list[tuple[Any, ...]]:
    rows = []
    for shape, dims in [((5, 4), 1), ((2, 3, 4), 2), ((4,), 1)]:
        input, inner = normal(*shape) * 3 + 1, shape[len(shape) - dims :]
        _, mean, scale = functional.layer_norm(input, inner, None, None, 1e-5)
        some = [(True, True, True), (True, False, False), (False, True, False), (False, False, True)]
        rows += [(normal(*shape), input, inner, mean, scale, normal(*inner), wanted) for wanted in some]
        rows.append((normal(*shape), input, inner, mean, scale, None, (True, False, False)))
    return rows


def _embedding_backward() -> list[tuple[Any, ...]]:
    indices = [torch.tensor([0, 2, 2, 1, 2]), torch.tensor(1), torch.tensor([[4, 0]], dtype=torch.int32)]
    return [
        (normal(*i.shape, 3), i, 5, padding, by_frequency)
        for i in indices
        for padding in (-1, 2)
        for by_frequency in (False, True)
    ]


def _max_pool2d_backward() -> list[tuple[Any, ...]]:
    input, windows = normal(2, 3, 7, 8), ((3, 2), (2, 1), (1, 0), (1, 2), True)
    output, indices = functional.max_pool2d(input, *windows)
    return [(torch.randn_like(output), input, indices, *windows)]


def _attention() -> list[tuple[Any, ...]]:
    q, k, v = normal(2, 3, 5, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 4)
    seen = torch.rand(5, 7) > 0.5
    seen[2] = False  # a query that may look at nothing
    return [
        (q, k, v),
        (q, k, v, None, True, 0.3),
        (q, k, v, None, True, -0.3),
        (q, k, v, seen, True, 0.0),
        (q, k, v, normal(3, 5, 7)),
        (q, k, v, normal(2, 1, 1, 7), True),
        (q, k, v, seen),
        (q, k[:, :1], v[:, :1], seen, False, None, True),
        (q[0], k[0], v[0], normal(3, 1, 7)),
        (q[0, 0], k[0, 0], v[0, 0]),
        (q, k, normal(2, 3, 7, 6)),
        (q.mT.contiguous().mT, k.transpose(1, 2).contiguous().transpose(1, 2), v),
        (q, k, v, None, True, None, False, torch.rand(2, 3, 5, 7) > 0.5, 0.5),
    ]


def _attention_backward() -> list[tuple[Any, ...]]:
    rows = []
    for query, key, value, *options in _attention():
        output, lse = functional.scaled_dot_product_attention(query, key, value, *options)
        rows.append((normal(*output.shape), query, key, value, output, lse, *options))
    return rows


def _lstm() -> list[tuple[Any, ...]]:
    states = normal(2, 4), normal(2, 4)
    return [
        (normal(5, 2, 3), *states, normal(16, 3), normal(16, 4), *biases, reverse)
        for biases in [(normal(16), normal(16)), (None, None)]
        for reverse in (False, True)
    ]


def _lstm_backward() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for *arguments, reverse in _lstm():
        output, _, last_cell, kept = functional.lstm(*arguments, reverse)
        rest = *arguments, output, last_cell, kept, reverse
        rows.append((normal(5, 2, 4), normal(2, 4), normal(2, 4), *rest))
        rows.append((None, normal(2, 4), None, *rest))
    return rows


positive = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
ARGUMENTS: dict[str, Callable[[], list[tuple[Any, ...]]]] = {
    "sum_to_shape": lambda: [
        (normal(2, 3, 4), torch.Size(shape)) for shape in [(2, 3, 4), (3, 4), (4,), (), (1, 4), (2, 1, 1)]
    ],
    "relu_backward": lambda: [(normal(3, 4), torch.relu(normal(3, 4)))],
    "tanh_backward": lambda: [(normal(3, 4), torch.tanh(normal(3, 4)))],
    "sigmoid_backward": lambda: [(normal(3, 4), torch.sigmoid(normal(3, 4)))],
    "gelu": lambda: [(normal(3, 4) * 3, approximate) for approximate in ("none", "tanh")],
    "gelu_backward": lambda: [(normal(3, 4), normal(3, 4) * 3, approximate) for approximate in ("none", "tanh")],
    "softmax_backward": lambda: [(normal(3, 4), normal(3, 4).softmax(d), d) for d in (0, 1, -1)],
    "log_softmax_backward": lambda: [(normal(3, 4), normal(3, 4).log_softmax(d), d) for d in (0, 1, -1)],
    "linear": lambda: [
        (normal(5, 4), normal(3, 4), normal(3)),
        (normal(2, 5, 4), normal(3, 4), None),
        (normal(4), normal(3, 4), normal(3)),
    ],
    "scaled_dot_product_attention": _attention,
    "scaled_dot_product_attention_backward": _attention_backward,
    "lstm": _lstm,
    "lstm_backward": _lstm_backward,
    "mse_loss": lambda: [(normal(3, 4), normal(3, 4), r) for r in functional.REDUCTIONS],
    "mse_loss_backward": lambda: [
        (normal(3, 4) if r == "none" else normal(), normal(3, 4), normal(3, 4), r) for r in functional.REDUCTIONS
    ],
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad_input": _cross_entropy_grad_input,
    "linear_cross_entropy": lambda: _linear_cross_entropy(("mean", "sum", "none")),
    "linear_cross_entropy_backward": _linear_cross_entropy_backward,
    "linear_cross_entropy_with_gradients": lambda: _linear_cross_entropy(("mean", "sum"), wanted=True),
    "conv2d_grad_input": lambda: _convolution_gradients(with_input=False),
    "conv2d_grad_weight": lambda: _convolution_gradients(with_input=True),
    "batch_norm": lambda: [(normal(4, 3, 2, 2) * 3 + 1, w, b, 1e-5) for w, b in [(normal(3), normal(3)), (None, None)]],
    "batch_norm_backward": _batch_norm_backward,
    "batch_norm_apply": lambda: [
        (normal(4, 3, 2, 2), normal(3), positive, w, b, 1e-5) for w, b in [(normal(3), normal(3)), (None, None)]
    ],
    "batch_norm_apply_backward": lambda: [
        (normal(4, 3, 2, 2), normal(4, 3, 2, 2), normal(3), positive, w, 1e-5) for w in (normal(3), None)
    ],
    "layer_norm": lambda: [
        (normal(2, 3, 4) * 3 + 1, shape, w, b, 1e-5)
        for shape in [(4,), (3, 4), (2, 3, 4)]
        for w, b in [(normal(*shape), normal(*shape)), (normal(*shape), None), (None, None)]
    ],
    "layer_norm_backward": _layer_norm_backward,
    "embedding": lambda: [
        (torch.tensor([[0, 2, 2]]), normal(3, 4)),
        (torch.tensor(1, dtype=torch.int32), normal(3, 4)),
    ],
    "embedding_backward": _embedding_backward,
    "dropout": lambda: [(normal(*shape), p) for shape in [(3, 4), (), (50, 50)] for p in (0.0, 0.2, 0.5, 1.0)],
    "dropout_backward": lambda: [(normal(3, 4), torch.rand(3, 4) < 0.5, p) for p in (0.0, 0.2, 1.0)],
    "max_pool2d_backward": _max_pool2d_backward,
    "adaptive_avg_pool2d_backward": lambda: [
        (normal(2, 3, 3, 2), normal(2, 3, 7, 5)),
        (normal(3, 4, 5), normal(3, 2, 3)),
    ],
    "select_backward": lambda: [
        (normal(2, 2), torch.Size((3, 4)), (slice(1, None), slice(None, None, 2))),
        (normal(4), torch.Size((3, 4)), -1),
        (normal(4, 4), torch.Size((3, 4)), torch.tensor([0, 2, 2, 1])),
    ],
}


def _flat(results: Any) -> Iterator[Tensor]:
    for result in results if isinstance(results, tuple) else (results,):
        yield from _flat(result) if isinstance(result, tuple) else (result,)


def test_every_pair_is_here() -> None:
    assert {pair.__name__ for pair in PAIRS} == set(ARGUMENTS)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.__name__)
def test_kernel_equals_formula(pair: Any) -> None:
    for arguments in ARGUMENTS[pair.__name__]():
        state = torch.get_rng_state()  # those that draw are to draw the same
        fast = pair.kernel(*arguments)
        torch.set_rng_state(state)
        plain = pair.formula(*arguments)
        fast, plain = (list(_flat(x)) for x in (fast, plain))
        if "none" in arguments and pair.__name__ == "cross_entropy":  # which divides by nothing: D is not made
            fast, plain = fast[:2], plain[:2]
        for a, b in zip(fast, plain, strict=True):
            if a is None or b is None:
                assert a is b
                continue
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_formulas_context() -> None:
    ran = []
    pair = functional.kernel(lambda x: ran.append("kernel"))(lambda x: ran.append("formula"))
    PAIRS.remove(pair)
    pair(1)
    with functional.formulas():
        pair(1)
        with functional.formulas():
            assert running_formulas()
        assert running_formulas()
    pair(1)
    assert ran == ["kernel", "formula", "kernel"]


def test_class_index_out_of_range_raises_by_kernel_and_by_formula() -> None:
    for smoothing in (0.0, 0.1):
        with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
            functional.cross_entropy(normal(2, 3), torch.tensor([0, 3]), label_smoothing=smoothing)
