"""Scaled dot-product attention on Variables, where its gradients are and plain tensors alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Primitive
from modgrad.graph.dispatch import operator
from modgrad.graph.errors import describe
from modgrad.nn.dropout import drawn_mask


class ScaledDotProductAttention(Primitive):
    """softmax(Q K^T scale + mask) V. Keeps its inputs, the output and a number for each query, no matrix of L x S."""

    autocast = "scaled_dot_product_attention"

    def forward(
        self,
        call: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        _check(query, key, value, attn_mask, dropout_p, enable_gqa)
        dropout_mask = None
        if dropout_p > 0:
            dropout_mask = drawn_mask(query.new_ones(_scores_shape(query, key, attn_mask, enable_gqa)), dropout_p)
        output, lse = functional.scaled_dot_product_attention(
            query, key, value, attn_mask, is_causal, scale, enable_gqa, dropout_mask, dropout_p
        )
        call.options = is_causal, scale, enable_gqa, dropout_p
        call.save(query, key, value, output, lse, attn_mask, dropout_mask)
        return output

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, lse, attn_mask, dropout_mask = call.saved
        is_causal, scale, enable_gqa, dropout_p = call.options
        saved = query, key, value, output, lse
        dropout = dropout_mask, dropout_p
        three: tuple[Tensor | None, ...] = (None, None, None)
        grad_mask = None
        if call.wants(0) or call.wants(1) or call.wants(2):
            three = functional.scaled_dot_product_attention_backward(
                grad, *saved, attn_mask, is_causal, scale, enable_gqa, *dropout
            )
        if call.wants(3):
            grad_mask = functional.scaled_dot_product_attention_grad_mask(
                grad, *saved, attn_mask, is_causal, scale, enable_gqa, *dropout
            )
        return *three, grad_mask


_ATTENTION = ScaledDotProductAttention()


@operator(torch._C._nn.scaled_dot_product_attention)
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(Q K^T scale + mask) V, on Variables and plain tensors; the arguments are PyTorch's.

    query (..., Hq, L, E), key (..., H, S, E), value (..., H, S, V); returns (..., Hq, L, V). attn_mask broadcasts to
    (..., Hq, L, S): boolean, True where a query may look, or floating-point, added to the scores; a query that may look
    at nothing gets zeros. is_causal: query i sees keys 0 to i, of those that attn_mask leaves it. scale: 1 / sqrt(E) if
    None. enable_gqa: H may divide Hq. dropout_p: applied whenever it is not 0, in training or not.

    On the CPU, without dropout, with values of width E and no leading dimensions to broadcast, no matrix of L x S is
    made; elsewhere (on a GPU too) one is made and not kept.

    >>> from modgrad import nn
    >>> x = nn.Variable(torch.randn(2, 4, 5, 8))  # (batch, heads, time, head size)
    >>> nn.operators.scaled_dot_product_attention(x, x, x, is_causal=True).shape
    torch.Size([2, 4, 5, 8])
    """
    return _ATTENTION(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


def _scores_shape(query: Tensor, key: Tensor, attn_mask: Tensor | None, enable_gqa: bool) -> torch.Size:
    """(..., L, S), as everything broadcasts."""
    leading = (*key.shape[:-3], query.shape[-3]) if enable_gqa else key.shape[:-2]
    mask = () if attn_mask is None else attn_mask.shape
    return torch.broadcast_shapes((*query.shape[:-1], 1), (*leading, 1, key.shape[-2]), mask)


def _check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    dropout_p: float,
    enable_gqa: bool,
) -> None:
    """Raise where the arguments do not belong together."""
    who, given = "scaled_dot_product_attention", f"query {tuple(query.shape)}, key {tuple(key.shape)}"
    given += f" and value {tuple(value.shape)}"
    if query.dim() < 2 or key.dim() < 2 or value.dim() < 2:
        raise ValueError(f"{who}: expected query (..., L, E), key (..., S, E) and value (..., S, V), got {given}")
    if not query.dtype == key.dtype == value.dtype:
        raise TypeError(
            f"{who}: query is {query.dtype}, key {key.dtype}, value {value.dtype}: write .to(query.dtype) on the others"
        )
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"{who}: query and key must agree in the last dimension, key and value in the one before it, got {given}"
        )
    if not 0.0 <= dropout_p <= 1.0:
        raise ValueError(f"{who}(dropout_p={dropout_p}): expected a number from 0 to 1")
    if enable_gqa:
        heads = query.shape[-3] if query.dim() > 2 and key.dim() > 2 and value.dim() > 2 else 0
        if not heads or heads % key.shape[-3] or heads % value.shape[-3]:
            raise ValueError(
                f"{who}(enable_gqa=True): the heads (dimension -3) of key and value must divide query's, got {given}"
            )
    if attn_mask is not None and attn_mask.dtype not in (torch.bool, torch.float32, query.dtype):
        raise TypeError(
            f"{who}: attn_mask is {describe(attn_mask)}: expected torch.bool, True where a query may look, or "
            f"{query.dtype}, which is added to the scores: write attn_mask.bool() or attn_mask.to({query.dtype})"
        )
