"""Cross entropy of a linear map's scores, by chunks of rows: the scores of a large vocabulary never exist at once.

With h (N, I) the input, W (V, I) and b (V) the linear map, scores x = h W^T + b (N, V), and T and D as in `loss`:

    L = -(1/D) sum_c T_c log p_c,  p = softmax(x),    G = dL/dx = (1/D) (p sum_k T_k - T),
    dL/dh = G W,    dL/dW = G^T h,    dL/db = sum of G's rows.

The kernels hold x for some rows at a time, in memory that G then takes over.   As in Wijmans et al. 2024
("Cut Your Losses in Large-Vocabulary Language Models"), with rows in place of blocks. Half precision: x and G are
worked on in float32, and multiplied in the input's own dtype.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel
from modgrad.functional.linear import linear, linear_grad_bias, linear_grad_input, linear_grad_weight
from modgrad.functional.loss import (
    cross_entropy,
    cross_entropy_grad_input,
    cross_entropy_grad_target,
    is_probabilities,
)
from modgrad.functional.product import add_product_, affine, product

__all__ = [
    "linear_cross_entropy",
    "linear_cross_entropy_backward",
    "linear_cross_entropy_grad_target",
    "linear_cross_entropy_with_gradients",
]

Wanted = tuple[bool, bool, bool]  # whether the gradients of input, weight and bias are
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]

# Measured at one thread with I = 384, V = 50257: below 128 rows the products slow down, above they gain nothing.
_BYTES, _BYTES_ON_ACCELERATOR, _FEWEST_ROWS = 2**25, 2**28, 64


def _linear_cross_entropy_kernel(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    rows: int | None = None,
) -> Tensor:
    if not isinstance(input.shape[0], int):  # traced with a dynamic batch: a loop must have a known number of turns
        return linear_cross_entropy.formula(
            input, linear_weight, linear_bias, target, weight, ignore_index, reduction, label_smoothing
        )
    losses, _ = _by_chunks(
        *(input, linear_weight, linear_bias, target, weight, ignore_index, label_smoothing, rows),
        *(None, (False, False, False)),
    )
    return _reduced(losses, _divisor(input, target, weight, ignore_index, reduction), reduction)


@kernel(_linear_cross_entropy_kernel)
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    rows: int | None = None,
) -> Tensor:
    """L = cross entropy of the scores x = h W^T + b.

    input h (N, I), linear_weight W (V, I), linear_bias b (V), target (N) class indices or (N, V) probabilities,
    weight (V) of each class, rows: how many at a time (None: as many as make a buffer of 32 MB).
    """
    scores = linear(input, linear_weight, linear_bias)
    return cross_entropy(scores, target, weight, ignore_index, reduction, label_smoothing)[0]


def _linear_cross_entropy_backward_kernel(
    grad: Tensor,
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    wanted: Wanted = (True, True, True),
    rows: int | None = None,
) -> Gradients:
    if not isinstance(input.shape[0], int):
        return linear_cross_entropy_backward.formula(
            *(grad, input, linear_weight, linear_bias, target, weight),
            *(ignore_index, reduction, label_smoothing, wanted),
        )
    slope = grad / _divisor(input, target, weight, ignore_index, reduction) if reduction == "mean" else grad
    return _by_chunks(
        *(input, linear_weight, linear_bias, target, weight, ignore_index, label_smoothing, rows),
        *(slope.expand(input.shape[0]), wanted),
    )[1]


@kernel(_linear_cross_entropy_backward_kernel)
def linear_cross_entropy_backward(
    grad: Tensor,
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    wanted: Wanted = (True, True, True),
    rows: int | None = None,
) -> Gradients:
    """G = (1/D) (p sum_k T_k - T) dL/dy;  dL/dh = G W,  dL/dW = G^T h,  dL/db = sum of G's rows; None if not wanted.

    The scores are computed again. grad: the loss's shape, () or (N).
    """
    scores = linear(input, linear_weight, linear_bias)
    _, log_p, divisor = cross_entropy(scores, target, weight, ignore_index, reduction, label_smoothing)
    G = cross_entropy_grad_input(grad, log_p, target, divisor, weight, ignore_index, reduction, label_smoothing)
    return (
        linear_grad_input(G, linear_weight) if wanted[0] else None,
        linear_grad_weight(G, input) if wanted[1] else None,
        linear_grad_bias(G) if wanted[2] else None,
    )


def _linear_cross_entropy_with_gradients_kernel(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    wanted: Wanted = (True, True, True),
    rows: int | None = None,
) -> tuple[Tensor, Gradients]:
    if not isinstance(input.shape[0], int):
        return linear_cross_entropy_with_gradients.formula(
            input, linear_weight, linear_bias, target, weight, ignore_index, reduction, label_smoothing, wanted
        )
    divisor = _divisor(input, target, weight, ignore_index, reduction)
    losses, gradients = _by_chunks(
        *(input, linear_weight, linear_bias, target, weight, ignore_index, label_smoothing, rows),
        *((1 / divisor).expand(input.shape[0]), wanted),
    )
    return _reduced(losses, divisor, reduction), gradients


@kernel(_linear_cross_entropy_with_gradients_kernel)
def linear_cross_entropy_with_gradients(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    wanted: Wanted = (True, True, True),
    rows: int | None = None,
) -> tuple[Tensor, Gradients]:
    """The loss, a mean or a sum, and its gradients, from one pass over the scores."""
    common = input, linear_weight, linear_bias, target, weight, ignore_index, reduction, label_smoothing
    loss = linear_cross_entropy(*common)
    return loss, linear_cross_entropy_backward(torch.ones_like(loss), *common, wanted)


def linear_cross_entropy_grad_target(
    grad: Tensor,
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """dL/dt_c = -(1/D) (1 - e) w_c log p_c dL/dy, for targets that are probabilities. As large as the scores."""
    log_p = torch.log_softmax(linear(input, linear_weight, linear_bias), 1)
    divisor = log_p.new_ones(log_p.shape[0]).sum()
    return cross_entropy_grad_target(grad, log_p, divisor, weight, reduction, label_smoothing)


def _divisor(input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str) -> Tensor:
    """D: the weights of the classes that count, or the number of rows; 1 where no mean is taken."""
    dtype = _working(input.dtype)
    if reduction != "mean":
        return torch.ones((), dtype=dtype, device=input.device)
    if is_probabilities(input, target):
        return torch.ones_like(target[:, 0], dtype=dtype).sum()
    counted = target != ignore_index
    if weight is None:
        return counted.sum(dtype=dtype)
    return torch.where(counted, weight[torch.where(counted, target, 0)], 0).sum(dtype=dtype)


def _reduced(losses: Tensor, divisor: Tensor, reduction: str) -> Tensor:
    return losses if reduction == "none" else (losses.sum(dtype=divisor.dtype) / divisor).to(losses.dtype)


def _working(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _fitting(count: int, classes: int, like: Tensor) -> int:
    """How many rows to take at a time: chunks of about one size, none larger than the buffer."""
    available = _BYTES if like.device.type == "cpu" else _BYTES_ON_ACCELERATOR
    most = max(available // max(classes * like.element_size(), 1), _FEWEST_ROWS)
    chunks = max(-(-count // most), 1)
    return -(-count // chunks)


def _by_chunks(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    rows: int | None,
    slope: Tensor | None,
    wanted: Wanted,
) -> tuple[Tensor, Gradients]:
    """The loss of each row (N), and the gradients where dL/d(loss of the row) is `slope` (N)."""
    count, classes = input.shape[0], linear_weight.shape[0]
    rows = max(min(rows or _fitting(count, classes, input), count), 1)
    working = _working(input.dtype)
    losses = input.new_empty(count)
    grad_input = torch.empty_like(input) if wanted[0] else None
    grad_weight = torch.zeros_like(linear_weight) if wanted[1] else None
    grad_bias = input.new_zeros(classes, dtype=working) if wanted[2] else None
    for start in range(0, count, rows):
        end = min(start + rows, count)
        h = input[start:end]
        x = G = None  # the memory of the chunk before is this one's
        x = affine(h, linear_weight, linear_bias).to(working)
        x.sub_(x.amax(1, keepdim=True))
        part = target[start:end]
        of_rows = None if slope is None else slope[start:end].to(working)
        terms = _dense_targets if is_probabilities(input, target) else _sparse_targets
        losses[start:end] = terms(x, part, weight, ignore_index, label_smoothing, of_rows)
        if slope is None:
            continue
        G = x.to(input.dtype)  # the same tensor, unless in half precision
        if grad_bias is not None:
            grad_bias += x.sum(0)
        if grad_input is not None:
            grad_input[start:end] = product(G, linear_weight)
        if grad_weight is not None:
            add_product_(grad_weight, G.t(), h)
    return losses, (grad_input, grad_weight, None if grad_bias is None else grad_bias.to(input.dtype))


# The two below take a chunk of scores x (R, V), each row's maximum subtracted, give the loss of each row (R),
# sum_c T_c (log sum_k e^x_k - x_c), and leave G in x where a slope (R) is given.


def _sparse_targets(
    x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, label_smoothing: float, slope: Tensor | None
) -> Tensor:
    """For class indices: T is (1 - e) w_y at class y, and e / V w_c at every class."""
    counted = target != ignore_index
    index = torch.where(counted, target, 0).unsqueeze(1)
    each: Any = 1.0 if weight is None else weight.to(x.dtype)[index].squeeze(1)
    hard = torch.where(counted, each, 0).to(x.dtype) * (1 - label_smoothing)
    mass, looked_at = hard, hard * x.gather(1, index).squeeze(1)
    smooth = None
    if label_smoothing:
        smooth = x.new_full(x.shape[1:], label_smoothing / x.shape[1])
        smooth = smooth if weight is None else smooth * weight.to(x.dtype)
        mass = torch.where(counted, hard + smooth.sum(), 0)
        looked_at = looked_at + torch.mv(x, smooth)
    sums = x.exp_().sum(1)
    if slope is not None:
        slope = torch.where(counted, slope, 0)  # which is infinite where nothing counts
        x.mul_((slope * mass / sums).unsqueeze(1))
        x.scatter_(1, index, x.gather(1, index) - (slope * hard).unsqueeze(1))
        if smooth is not None:
            x.addr_(slope, smooth, alpha=-1)
    return torch.where(counted, mass * torch.log(sums) - looked_at, 0)


def _dense_targets(
    x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, label_smoothing: float, slope: Tensor | None
) -> Tensor:
    """For probabilities t: T is w_c ((1 - e) t_c + e / V)."""
    T = target.to(x.dtype) * (1 - label_smoothing) + label_smoothing / x.shape[1]
    if weight is not None:
        T *= weight.to(x.dtype)
    mass = T.sum(1)
    looked_at = (T * x).sum(1)
    sums = x.exp_().sum(1)
    if slope is not None:
        x.mul_((slope * mass / sums).unsqueeze(1)).sub_(T.mul_(slope.unsqueeze(1)))
    return mass * torch.log(sums) - looked_at
