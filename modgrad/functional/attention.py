"""Scaled dot-product attention, with its derivatives.   Vaswani et al. 2017, eq. 1.

Shapes: query (..., L, E), key (..., S, E), value (..., S, V), output (..., L, V), leading dimensions that broadcast;
attn_mask: anything that broadcasts to the scores (..., L, S), boolean (True takes part) or added to the scores.
lse (..., L) is log sum exp of each query's scores, from which the backward has the probabilities again without keeping
them: P = exp(S - lse). For a query that may look at nothing P, the output and the gradients are 0 (and lse is 0,
as the kernel has it).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.arithmetic import sum_to_shape
from modgrad.functional.dropout import dropout_masked
from modgrad.functional.kernel import direct, kernel

__all__ = [
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_backward",
    "scaled_dot_product_attention_grad_mask",
]

Three = tuple[Tensor, Tensor, Tensor]
_flash: Any = direct(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default)
_flash_backward: Any = direct(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default)


def _flash_takes(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, scale: float | None) -> bool:
    """Whether the kernel does; it asks few of these things itself, and reads beyond its memory where they fail.

    It also scales the -inf of what a causal query must not see, which a scale of 0 or less makes NaN.
    """
    return (
        query.device.type == "cpu"
        and (scale is None or scale > 0)
        and 2 <= query.dim() <= 4
        and key.shape == value.shape
        and key.shape[:-2] == query.shape[:-2]
        and query.shape[-1] == key.shape[-1]
        and query.numel() > 0
        and key.numel() > 0
        and (attn_mask is None or _mask_fits(attn_mask, (*query.shape[:-1], key.shape[-2])))
    )


def _mask_fits(attn_mask: Tensor, scores: tuple[int, ...]) -> bool:
    """Whether the mask broadcasts to the scores, without making them any larger."""
    shape = attn_mask.shape
    if len(shape) > len(scores):
        return False
    return all(size in (1, wanted) for size, wanted in zip(reversed(shape), reversed(scores), strict=False))


def _as_flash_takes_it(x: Tensor) -> Tensor:
    """With four dimensions, the last one without gaps: the kernel does not look at its stride."""
    x = x if x.stride(-1) == 1 else x.contiguous()
    return x if x.dim() == 4 else x.reshape((1,) * (4 - x.dim()) + tuple(x.shape))


def _flash_mask(attn_mask: Tensor | None, query: Tensor) -> Tensor | None:
    if attn_mask is None:
        return None
    if attn_mask.dtype is torch.bool:
        attn_mask = torch.where(attn_mask, 0.0, -math.inf)
    if attn_mask.dtype != query.dtype:  # of the half precisions the scores are in float32, and so may the mask be
        attn_mask = attn_mask.to(torch.float64 if query.dtype is torch.float64 else torch.float32)
    attn_mask = attn_mask.contiguous()
    return attn_mask.reshape((1,) * (4 - attn_mask.dim()) + tuple(attn_mask.shape))


def _attention_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    dropout_mask: Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[Tensor, Tensor]:
    k, v = (_for_each_query_head(x, query, enable_gqa) for x in (key, value))
    if dropout_mask is not None or not _flash_takes(query, k, v, attn_mask, scale):
        return NotImplemented
    q, k, v = map(_as_flash_takes_it, (query, k, v))
    output, lse = _flash(q, k, v, 0.0, is_causal, attn_mask=_flash_mask(attn_mask, query), scale=scale)
    if query.dim() < 4:
        output, lse = output.reshape(query.shape), lse.reshape(query.shape[:-1])
    return output, lse


@kernel(_attention_kernel)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    dropout_mask: Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """O = P V with P = softmax(Q K^T scale + mask).   Returns O and lse.

    is_causal: query i sees keys 0 to i. scale: 1 / sqrt(E) if None. enable_gqa: key and value have fewer heads
    (dimension -3), each for as many heads of the query in turn. dropout_mask: what is kept of P, scaled then by
    1 / (1 - dropout_p). The kernel (on the CPU, without dropout) never has a matrix of L x S, the formula does.
    """
    q, k, v = _in_computing_dtype(query, key, value, enable_gqa)
    scores = _scores(q, k, attn_mask, is_causal, scale)
    lse = scores.logsumexp(-1)
    lse = torch.where(lse == -math.inf, 0.0, lse)
    probabilities = torch.exp(scores - lse.unsqueeze(-1))
    return (_dropped(probabilities, dropout_mask, dropout_p) @ v).to(query.dtype), lse


def _attention_backward_kernel(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    dropout_mask: Tensor | None = None,
    dropout_p: float = 0.0,
) -> Three:
    k, v = (_for_each_query_head(x, query, enable_gqa) for x in (key, value))
    if dropout_mask is not None or not _flash_takes(query, k, v, attn_mask, scale):
        return NotImplemented
    grad, q, k, v, output = map(_as_flash_takes_it, (grad, query, k, v, output))
    lse = lse.reshape(output.shape[:-1])
    mask = _flash_mask(attn_mask, query)
    three = _flash_backward(grad, q, k, v, output, lse, 0.0, is_causal, attn_mask=mask, scale=scale)
    grad_query, grad_key, grad_value = (g.reshape((*query.shape[:-2], *g.shape[-2:])) for g in three)
    return grad_query, _of_each_key_head(grad_key, key), _of_each_key_head(grad_value, value)


@kernel(_attention_backward_kernel)
def scaled_dot_product_attention_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    dropout_mask: Tensor | None = None,
    dropout_p: float = 0.0,
) -> Three:
    """With P = exp(S - lse), R = P after dropout, and g = dL/dO.   Dao et al. 2022, appendix B.2.

    dL/dV = R^T g
    dL/dP = g V^T, dropped where P was
    dL/dS = P (dL/dP - D), D = sum_j P_j dL/dP_j = sum g O for each query
    dL/dQ = dL/dS K scale,   dL/dK = dL/dS^T Q scale
    """
    q, k, v = _in_computing_dtype(query, key, value, enable_gqa)
    g = grad.to(q.dtype)
    factor = _scale(query, scale)
    probabilities = torch.exp(_scores(q, k, attn_mask, is_causal, scale) - lse.unsqueeze(-1))
    grad_value = _dropped(probabilities, dropout_mask, dropout_p).mT @ g
    grad_scores = _grad_scores(g, v, output, probabilities, dropout_mask, dropout_p)
    grad_query, grad_key = grad_scores @ k * factor, grad_scores.mT @ q * factor
    return (
        sum_to_shape(grad_query, query.shape).to(query.dtype),
        _of_each_key_head(grad_key, key).to(key.dtype),
        _of_each_key_head(grad_value, value).to(value.dtype),
    )


def scaled_dot_product_attention_grad_mask(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    attn_mask: Tensor,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    dropout_mask: Tensor | None = None,
    dropout_p: float = 0.0,
) -> Tensor:
    """dL/dmask = dL/dS, summed to the mask's shape. Has matrices of L x S."""
    q, k, v = _in_computing_dtype(query, key, value, enable_gqa)
    probabilities = torch.exp(_scores(q, k, attn_mask, is_causal, scale) - lse.unsqueeze(-1))
    grad_scores = _grad_scores(grad.to(q.dtype), v, output, probabilities, dropout_mask, dropout_p)
    return sum_to_shape(grad_scores, attn_mask.shape).to(attn_mask.dtype)


def _scale(query: Tensor, scale: float | None) -> float:
    return 1 / math.sqrt(query.shape[-1]) if scale is None else scale


def _scores(query: Tensor, key: Tensor, attn_mask: Tensor | None, is_causal: bool, scale: float | None) -> Tensor:
    """S = Q K^T scale + mask (..., L, S), -inf where a query must not look."""
    scores = query @ key.mT * _scale(query, scale)
    if is_causal:
        visible = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = torch.where(visible, scores, -math.inf)
    if attn_mask is None:
        return scores
    return torch.where(attn_mask, scores, -math.inf) if attn_mask.dtype is torch.bool else scores + attn_mask


def _grad_scores(
    grad: Tensor,
    value: Tensor,
    output: Tensor,
    probabilities: Tensor,
    dropout_mask: Tensor | None,
    dropout_p: float,
) -> Tensor:
    grad_probabilities = _dropped(grad @ value.mT, dropout_mask, dropout_p)
    return probabilities * (grad_probabilities - (grad * output).sum(-1, keepdim=True))


def _dropped(probabilities: Tensor, dropout_mask: Tensor | None, dropout_p: float) -> Tensor:
    return probabilities if dropout_mask is None else dropout_masked(probabilities, dropout_mask, dropout_p)


def _in_computing_dtype(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> Three:
    """In float32 for the half precisions, and with a head of key and value for each of the query's."""
    dtype = query.dtype if query.dtype in (torch.float32, torch.float64) else torch.float32
    key, value = (_for_each_query_head(x, query, enable_gqa) for x in (key, value))
    return query.to(dtype), key.to(dtype), value.to(dtype)


def _for_each_query_head(x: Tensor, query: Tensor, enable_gqa: bool) -> Tensor:
    """Each head of a key or value (..., H, S, E), as often as the query's heads are in groups."""
    if not enable_gqa or x.shape[-3] == query.shape[-3]:
        return x
    return x.repeat_interleave(query.shape[-3] // x.shape[-3], -3)


def _of_each_key_head(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient of `x` from that of `_for_each_query_head(x)`, broadcast or not."""
    if x.dim() > 2 and 1 < x.shape[-3] < grad.shape[-3]:
        grad = grad.unflatten(-3, (x.shape[-3], -1)).sum(-3)
    return sum_to_shape(grad, x.shape)
