"""Cross entropy of a linear map's scores, by chunks of rows: the scores of a large vocabulary never exist at once.

With h (N, I) the input, W (V, I) and b (V) the linear map, scores x = h W^T + b (N, V), and T and D as in `loss`:

    L = -(1/D) sum_c T_c log p_c,  p = softmax(x),    G = dL/dx = (1/D) (p sum_k T_k - T),
    dL/dh = G W,    dL/dW = G^T h,    dL/db = sum of G's rows.

For a loss in further dimensions, K = (d1, ...), W is (V, *K, I): each place in K has scores of its own, x (N, V, *K).

The kernels hold x for some rows at a time, in memory that G then takes over.   As in Wijmans et al. 2024
("Cut Your Losses in Large-Vocabulary Language Models"), with rows in place of blocks. Half precision: x and G are
worked on in float32; what they are multiplied in is for `Chunks` to say.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel
from modgrad.functional.linear import linear, linear_grad_bias, linear_grad_input, linear_grad_weight
from modgrad.functional.loss.classes import (
    cross_entropy,
    cross_entropy_grad_input,
    cross_entropy_grad_target,
    is_probabilities,
)
from modgrad.functional.product import add_product_, affine, product

__all__ = [
    "Chunks",
    "Criterion",
    "linear_cross_entropy",
    "linear_cross_entropy_backward",
    "linear_cross_entropy_grad_target",
    "linear_cross_entropy_with_gradients",
]

Wanted = tuple[bool, bool, bool]  # whether the gradients of input, weight and bias are
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]

# Measured at one thread with I = 384, V = 50257: below 128 rows the products slow down, above they gain nothing.
_BYTES, _BYTES_ON_ACCELERATOR, _FEWEST_ROWS = 2**25, 2**28, 64


class Criterion(NamedTuple):
    """What `cross_entropy` takes after the target. weight (V): of each class."""

    weight: Tensor | None = None
    ignore_index: int = -100
    reduction: str = "mean"
    label_smoothing: float = 0.0


class Chunks(NamedTuple):
    """How the kernels go about it; the values are the same but for rounding.

    rows: how many at a time; None: as many as make a buffer of 32 MB (256 MB on an accelerator).
    precision: of the products in half precision. "compact": all in the input's own dtype; "balanced": dL/dW is summed
        in float32, which takes a float32 tensor of W's size; "accurate": all are in float32, which takes two. "auto":
        "accurate" for float16 on the CPU, whose products there take 10 times as long and more, "compact" elsewhere.
    lower: a dtype that the products are taken in though input and linear map are float32, as under autocast.
    """

    rows: int | None = None
    precision: str = "auto"
    lower: torch.dtype | None = None


_PLAIN, _FITTING = Criterion(), Chunks()


def _linear_cross_entropy_kernel(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    criterion: Criterion = _PLAIN,
    chunks: Chunks = _FITTING,
) -> Tensor:
    common = input, linear_weight, linear_bias, target, criterion
    if not isinstance(input.shape[0], int):  # traced with a dynamic batch: a loop must have a known number of turns
        return NotImplemented
    return _by_chunks(*common, chunks, None, (False, False, False))[0]


@kernel(_linear_cross_entropy_kernel)
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    criterion: Criterion = _PLAIN,
    chunks: Chunks = _FITTING,
) -> Tensor:
    """L = cross entropy of the scores x = h W^T + b.

    input h (N, I), linear_weight W (V, *K, I), linear_bias b (V, *K), target (N, *K) class indices or (N, V, *K)
    probabilities; returns () or, without a reduction, (N, *K).
    """
    return cross_entropy(_scores(input, linear_weight, linear_bias, chunks), target, *criterion)[0]


def _linear_cross_entropy_backward_kernel(
    grad: Tensor,
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    criterion: Criterion = _PLAIN,
    wanted: Wanted = (True, True, True),
    chunks: Chunks = _FITTING,
) -> Gradients:
    common = input, linear_weight, linear_bias, target, criterion
    if not isinstance(input.shape[0], int):
        return NotImplemented
    slope = grad / _divisor(input, linear_weight, target, criterion) if criterion.reduction == "mean" else grad
    return _by_chunks(*common, chunks, slope, wanted)[1]


@kernel(_linear_cross_entropy_backward_kernel)
def linear_cross_entropy_backward(
    grad: Tensor,
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    criterion: Criterion = _PLAIN,
    wanted: Wanted = (True, True, True),
    chunks: Chunks = _FITTING,
) -> Gradients:
    """G = (1/D) (p sum_k T_k - T) dL/dy;  dL/dh = G W,  dL/dW = G^T h,  dL/db = sum of G's rows; None if not wanted.

    The scores are computed again. grad: the loss's shape, () or (N, *K).
    """
    own, lower = input.dtype, chunks.lower or input.dtype
    scores = _scores(input, linear_weight, linear_bias, chunks)
    _, log_p, divisor = cross_entropy(scores, target, *criterion)
    G = cross_entropy_grad_input(grad, log_p, target, divisor, *criterion).flatten(1)  # (N, V d1 ...)
    g, h, W = G.to(lower), input.to(lower), linear_weight.flatten(0, -2).to(lower)
    return (
        linear_grad_input(g, W).to(own) if wanted[0] else None,
        linear_grad_weight(g, h).to(own).reshape(linear_weight.shape) if wanted[1] else None,
        linear_grad_bias(G).reshape(linear_weight.shape[:-1]) if wanted[2] else None,
    )


def _linear_cross_entropy_with_gradients_kernel(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    criterion: Criterion = _PLAIN,
    wanted: Wanted = (True, True, True),
    chunks: Chunks = _FITTING,
) -> tuple[Tensor, Gradients]:
    common = input, linear_weight, linear_bias, target, criterion
    if not isinstance(input.shape[0], int):
        return NotImplemented
    return _by_chunks(*common, chunks, 1 / _divisor(input, linear_weight, target, criterion), wanted)


@kernel(_linear_cross_entropy_with_gradients_kernel)
def linear_cross_entropy_with_gradients(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    criterion: Criterion = _PLAIN,
    wanted: Wanted = (True, True, True),
    chunks: Chunks = _FITTING,
) -> tuple[Tensor, Gradients]:
    """The loss, a mean or a sum, and its gradients, from one pass over the scores."""
    common = input, linear_weight, linear_bias, target, criterion
    loss = linear_cross_entropy(*common, chunks)
    return loss, linear_cross_entropy_backward(torch.ones_like(loss), *common, wanted, chunks)


def linear_cross_entropy_grad_target(
    grad: Tensor,
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    criterion: Criterion = _PLAIN,
) -> Tensor:
    """dL/dt_c = -(1/D) (1 - e) w_c log p_c dL/dy, for targets that are probabilities (N, V, *K), all at once."""
    log_p = torch.log_softmax(_scores(input, linear_weight, linear_bias), 1)
    weight, _, reduction, label_smoothing = criterion
    divisor = torch.ones_like(log_p[:, 0]).sum()
    return cross_entropy_grad_target(grad, log_p, divisor, weight, reduction, label_smoothing)


def _scores(input: Tensor, linear_weight: Tensor, linear_bias: Tensor | None, chunks: Chunks = _FITTING) -> Tensor:
    """x = h W^T + b, (N, V, *K)."""
    lower = chunks.lower or input.dtype
    bias = None if linear_bias is None else linear_bias.flatten().to(lower)
    scores = linear(input.to(lower), linear_weight.flatten(0, -2).to(lower), bias)
    return scores.reshape(input.shape[0], *linear_weight.shape[:-1]).to(input.dtype)


def _divisor(input: Tensor, linear_weight: Tensor, target: Tensor, criterion: Criterion) -> Tensor:
    """D: the weights of the classes that count, or the number of places; 1 where no mean is taken."""
    weight, ignore_index, reduction, _ = criterion
    dtype = _working(input.dtype)
    if reduction != "mean":
        return torch.ones((), dtype=dtype, device=input.device)
    if is_probabilities(input, target):
        return torch.ones_like(target[:, 0], dtype=dtype).sum()
    counted = target != ignore_index
    if weight is None:
        return counted.sum(dtype=dtype)
    return torch.where(counted, weight[torch.where(counted, target, 0)], 0).sum(dtype=dtype)


def _working(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _fitting(count: int, scores: int, like: Tensor) -> int:
    """How many rows to take at a time: chunks of about one size, none larger than the buffer."""
    available = _BYTES if like.device.type == "cpu" else _BYTES_ON_ACCELERATOR
    most = max(available // max(scores * like.element_size(), 1), _FEWEST_ROWS)
    chunks = max(-(-count // most), 1)
    return -(-count // chunks)


def _multiplied_in(input: Tensor, chunks: Chunks) -> tuple[torch.dtype, torch.dtype]:
    """The dtypes that the products of scores and dL/dh, and of dL/dW, are taken in."""
    own, working, precision = input.dtype, _working(input.dtype), chunks.precision
    if chunks.lower is not None:
        return chunks.lower, chunks.lower
    if precision == "auto":
        precision = "accurate" if own is torch.float16 and input.device.type == "cpu" else "compact"
    return (working if precision == "accurate" else own), (own if precision == "compact" else working)


def _by_chunks(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    criterion: Criterion,
    chunks: Chunks,
    slope: Tensor | None,
    wanted: Wanted,
) -> tuple[Tensor, Gradients]:
    """The loss, and the gradients where dL/d(loss of a place) is `slope`, () or (N, *K)."""
    count, own, working = input.shape[0], input.dtype, _working(input.dtype)
    classes, places = linear_weight.shape[0], linear_weight.shape[1:-1].numel()
    precise, precise_weight = _multiplied_in(input, chunks)
    W = linear_weight.flatten(0, -2)  # (V P, I), P the number of places in K
    rows = max(min(chunks.rows or _fitting(count, W.shape[0], input), count), 1)
    probable = is_probabilities(input, target)
    target = target.reshape(count, classes, places) if probable else target.reshape(count, places)
    if slope is not None:
        slope = slope.to(working).expand(count, *linear_weight.shape[1:-1]).reshape(count, places)
    grad_weight = linear_weight.new_zeros(linear_weight.shape, dtype=precise_weight) if wanted[1] else None
    grad_bias = linear_weight.new_zeros(linear_weight.shape[:-1], dtype=working) if wanted[2] else None
    W = W.to(precise)
    bias = None if linear_bias is None else linear_bias.flatten().to(precise)
    losses, grad_input = [], []
    for start in range(0, count, rows):
        end = min(start + rows, count)
        h = input[start:end]
        x = scores = G = None  # the memory of the chunk before is this one's
        x = affine(h.to(precise), W, bias).to(working)
        scores = x.view(end - start, classes, places)
        scores.sub_(scores.amax(1, keepdim=True))
        terms = _dense_targets if probable else _sparse_targets
        loss = terms(scores, target[start:end], criterion, None if slope is None else slope[start:end])
        # Each chunk's sum at once: in a compiled program the losses of all together would hold all of their scores.
        losses.append(loss if criterion.reduction == "none" else loss.sum())
        if slope is None:
            continue
        G = x.to(precise)  # the same tensor, unless in half precision
        if grad_bias is not None:
            grad_bias += x.sum(0).view(grad_bias.shape)
        if wanted[0]:
            grad_input.append(product(G, W).to(own))
        if grad_weight is not None:
            add_product_(grad_weight.flatten(0, -2), x.to(precise_weight).t(), h.to(precise_weight))
    return _reduced(losses, input, linear_weight, target, criterion), (
        torch.cat(grad_input) if grad_input else torch.empty_like(input) if wanted[0] else None,
        None if grad_weight is None else grad_weight.to(own),
        None if grad_bias is None else grad_bias.to(own),
    )


def _reduced(
    losses: list[Tensor], input: Tensor, linear_weight: Tensor, target: Tensor, criterion: Criterion
) -> Tensor:
    """The loss, of each chunk's losses (R, P) or of their sums."""
    if criterion.reduction == "none":
        shape = input.shape[0], *linear_weight.shape[1:-1]
        return (torch.cat(losses) if losses else input.new_empty(shape)).reshape(shape).to(input.dtype)
    total = losses[0] if losses else input.new_zeros((), dtype=_working(input.dtype))
    for loss in losses[1:]:
        total = total + loss
    return (total / _divisor(input, linear_weight, target, criterion)).to(input.dtype)


# The two below take a chunk of scores x (R, V, P), each place's maximum subtracted, give the loss of each place (R, P),
# sum_c T_c (log sum_k e^x_k - x_c), and leave G in x where a slope (R, P) is given.


def _sparse_targets(x: Tensor, target: Tensor, criterion: Criterion, slope: Tensor | None) -> Tensor:
    """For class indices (R, P): T is (1 - e) w_y at class y, and e / V w_c at every class."""
    weight, ignore_index, _, label_smoothing = criterion
    counted = target != ignore_index
    index = torch.where(counted, target, 0).unsqueeze(1)
    each: Any = 1.0 if weight is None else weight.to(x.dtype)[index].squeeze(1)
    hard = torch.where(counted, each, 0).to(x.dtype) * (1 - label_smoothing)
    at_target = x.gather(1, index).squeeze(1)
    mass, looked_at = hard, hard * at_target
    smooth = None
    if label_smoothing:
        smooth = x.new_full(x.shape[1:2], label_smoothing / x.shape[1])
        smooth = smooth if weight is None else smooth * weight.to(x.dtype)
        mass = torch.where(counted, hard + smooth.sum(), 0)
        looked_at = looked_at + torch.matmul(x.mT, smooth)
    sums = x.exp_().sum(1)
    if slope is not None:
        slope = torch.where(counted, slope, 0)  # which is infinite where nothing counts
        factor = slope * mass / sums
        x.mul_(factor.unsqueeze(1))
        x.scatter_(1, index, (at_target.exp() * factor - slope * hard).unsqueeze(1))
        if smooth is not None:
            x.addcmul_(slope.unsqueeze(1), smooth.unsqueeze(1), value=-1)
    return torch.where(counted, mass * torch.log(sums) - looked_at, 0)


def _dense_targets(x: Tensor, target: Tensor, criterion: Criterion, slope: Tensor | None) -> Tensor:
    """For probabilities t (R, V, P): T is w_c ((1 - e) t_c + e / V)."""
    T = target.to(x.dtype) * (1 - criterion.label_smoothing) + criterion.label_smoothing / x.shape[1]
    if criterion.weight is not None:
        T *= criterion.weight.to(x.dtype).unsqueeze(1)
    mass = T.sum(1)
    looked_at = (T * x).sum(1)
    sums = x.exp_().sum(1)
    if slope is not None:
        x.mul_((slope * mass / sums).unsqueeze(1)).sub_(T.mul_(slope.unsqueeze(1)))
    return mass * torch.log(sums) - looked_at
