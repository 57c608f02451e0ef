"""Attention with several heads, and the projections around it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from modgrad.graph import Module, Parameter
from modgrad.graph.errors import describe
from modgrad.nn import init
from modgrad.nn.dropout import Dropout
from modgrad.nn.linear import Linear
from modgrad.nn.operators.affine import affine
from modgrad.nn.operators.attention import scaled_dot_product_attention

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention of num_heads heads side by side: softmax(Q K^T / sqrt(d) + mask) V in each, d = embed_dim / num_heads.

    query (L, N, embed_dim), key (S, N, kdim), value (S, N, vdim), or batch first, or without N. Q, K, V are affine in
    these; the heads' outputs, side by side, go through `out_proj`.   Vaswani et al. 2017, section 3.2.2.

    dropout: of the attention's weights, in training. add_bias_kv: a learnt key and value at the end of the sequence.
    add_zero_attn: a key and value of zeros at its end. Returns output (as query lies), and weights (N, L, S), the mean
    of the heads'; (N, num_heads, L, S) with average_attn_weights=False; None with need_weights=False, where no (L, S)
    matrix is kept.

    key_padding_mask (N, S): True where a key is to be ignored, or a number to add to its scores. attn_mask (L, S) or
    (N num_heads, L, S): True where a query may not look, or a number to add. is_causal: that attn_mask is the causal
    one, which need then not be read.

    >>> from modgrad import nn
    >>> x = torch.randn(5, 2, 8)
    >>> output, weights = nn.MultiheadAttention(8, 4)(x, x, x)
    >>> tuple(output.shape), tuple(weights.shape)
    ((5, 2, 8), (2, 5, 5))
    """

    bias_k: Any
    bias_v: Any

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention({embed_dim}, {num_heads}): embed_dim must be a multiple of num_heads, both above 0"
            )
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        alike = self.kdim == embed_dim and self.vdim == embed_dim

        def parameter(wanted: bool, *shape: int) -> Any:
            return Parameter(torch.empty(shape, device=device, dtype=dtype)) if wanted else None

        self.register_parameter("in_proj_weight", parameter(alike, 3 * embed_dim, embed_dim))
        for name, width in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
            self.register_parameter(f"{name}_proj_weight", parameter(not alike, embed_dim, width))
        self.register_parameter("in_proj_bias", parameter(bias, 3 * embed_dim))
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self.register_parameter("bias_k", parameter(add_bias_kv, 1, 1, embed_dim))
        self.register_parameter("bias_v", parameter(add_bias_kv, 1, 1, embed_dim))
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        own = self.__dict__
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if own[name] is not None:
                init.xavier_uniform_(own[name])
        if own["in_proj_bias"] is not None:
            init.zeros_(own["in_proj_bias"])
            init.zeros_(own["out_proj"].bias)
        for name in ("bias_k", "bias_v"):
            if own[name] is not None:
                init.xavier_normal_(own[name])

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        batched = query.dim() == 3
        first = self.batch_first and batched
        own = self.__dict__
        weights = [own["in_proj_weight"]]
        if weights[0] is None:
            weights = [own["q_proj_weight"], own["k_proj_weight"], own["v_proj_weight"]]
        if first:  # what is one stays one
            turned = {id(x): x.transpose(0, 1) for x in (query, key, value)}
            query, key, value = turned[id(query)], turned[id(key)], turned[id(value)]
        output, attention = multi_head_attention(
            query,
            key,
            value,
            self.num_heads,
            weights,
            own["in_proj_bias"],
            (own["bias_k"], own["bias_v"]),
            self.add_zero_attn,
            self.dropout if self.training else 0.0,
            self.out_proj,
            key_padding_mask,
            need_weights,
            attn_mask,
            average_attn_weights,
            is_causal,
        )
        return output.transpose(0, 1) if first else output, attention


def multi_head_attention(
    query: Any,
    key: Any,
    value: Any,
    num_heads: int,
    weights: list[Any],
    bias: Any,
    extra: tuple[Any, Any],
    add_zero_attn: bool,
    dropout_p: float,
    out_proj: Any,
    key_padding_mask: Any,
    need_weights: bool,
    attn_mask: Any,
    average_attn_weights: bool,
    is_causal: bool,
) -> tuple[Any, Any]:
    """What `MultiheadAttention` computes, the sequence's dimension first.

    weights: of the three projections, one below the other in one matrix, or one each. extra: a key and a value to add,
    or (None, None). out_proj: takes what the heads give.
    """
    single = query.dim() == 2
    if single:
        alike = key is query and value is query
        query = query.unsqueeze(1)
        key, value = (query, query) if alike else (key.unsqueeze(1), value.unsqueeze(1))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, width = query.shape
    _check(query, key, value, num_heads, weights, key_padding_mask, attn_mask)
    if is_causal and attn_mask is None:
        raise ValueError(
            "MultiheadAttention(is_causal=True) says that attn_mask is the causal one, and there is none: give "
            "attn_mask=nn.Transformer.generate_square_subsequent_mask(length)"
        )
    causal = is_causal and key_padding_mask is None and not need_weights
    mask = None if causal else _mask(attn_mask, key_padding_mask, query.dtype, (batch, num_heads, length, key.shape[0]))
    q, k, v = _projected(query, key, value, weights, bias)
    if extra[0] is not None:
        k, v = (torch.cat([x, b.expand(1, batch, width)]) for x, b in zip((k, v), extra, strict=True))
        mask = _lengthened(mask)
    heads = num_heads, width // num_heads
    q, k, v = (x.reshape(x.shape[0], batch, *heads).permute(1, 2, 0, 3) for x in (q, k, v))  # (N, H, L, d)
    if add_zero_attn:
        k, v = (torch.cat([x, x.detach().new_zeros(batch, num_heads, 1, x.shape[3])], 2) for x in (k, v))
        mask = _lengthened(mask)
    attention = None
    if need_weights:
        scores = (q * math.sqrt(1 / q.shape[-1])) @ k.transpose(-2, -1)
        attention = torch.softmax(scores if mask is None else scores + mask.to(scores.dtype), -1)
        if dropout_p > 0:
            attention = Dropout(dropout_p)(attention)
        output = attention @ v
        attention = attention.mean(1) if average_attn_weights else attention
    else:
        output = scaled_dot_product_attention(q, k, v, mask, dropout_p, causal)
    output = out_proj(output.permute(2, 0, 1, 3).reshape(length, batch, width))
    if single:
        output, attention = output.squeeze(1), None if attention is None else attention.squeeze(0)
    return output, attention


def _projected(query: Any, key: Any, value: Any, weights: list[Any], bias: Any) -> list[Any]:
    """Q, K, V. What comes of the same input is one product."""
    if len(weights) == 1 and query is key and key is value:
        return list(affine(query, weights[0], bias).chunk(3, -1))
    width = query.shape[-1]
    biases = [None] * 3 if bias is None else bias.chunk(3)
    if len(weights) == 3:
        return [affine(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]
    if key is value:
        of_query, of_both = weights[0].split([width, 2 * width])
        b_query, b_both = (None, None) if bias is None else bias.split([width, 2 * width])
        return [affine(query, of_query, b_query), *affine(key, of_both, b_both).chunk(2, -1)]
    return [affine(x, w, b) for x, w, b in zip((query, key, value), weights[0].chunk(3), biases, strict=True)]


def _mask(attn_mask: Any, key_padding_mask: Any, dtype: torch.dtype, shape: tuple[int, int, int, int]) -> Any:
    """Both masks in one that is added to the scores (N, H, L, S), of as few elements as broadcast to it."""
    batch, heads, length, keys = shape
    mask = None
    if attn_mask is not None:
        mask = _added(attn_mask, dtype)
        mask = mask.reshape(1, 1, length, keys) if mask.dim() == 2 else mask.reshape(batch, heads, length, keys)
    if key_padding_mask is not None:
        padding = _added(key_padding_mask, dtype).reshape(batch, 1, 1, keys)
        mask = padding if mask is None else mask + padding
    return mask


def _added(mask: Any, dtype: torch.dtype) -> Any:
    """What is added to the scores: minus infinity where a boolean mask is True."""
    if mask.dtype is not torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, -math.inf)


def _lengthened(mask: Any) -> Any:
    """A mask for one key more, which every query may see."""
    return None if mask is None else torch.cat([mask, mask.detach().new_zeros(*mask.shape[:-1], 1)], -1)


def _check(
    query: Any, key: Any, value: Any, num_heads: int, weights: list[Any], key_padding_mask: Any, attn_mask: Any
) -> None:
    """Raise where the arguments do not belong together. All have the dimension of samples by now, the second."""
    given = f"query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)}"
    if not query.dim() == key.dim() == value.dim() == 3:
        raise ValueError(f"MultiheadAttention: {given} (length, batch, width): all need a batch dimension, or none")
    if key.shape[:2] != value.shape[:2] or query.shape[1] != key.shape[1]:
        raise ValueError(
            f"MultiheadAttention: {given} (length, batch, width): key and value must have one length, all three one "
            "batch size. Batches first? Write batch_first=True"
        )
    widths = [weights[min(i, len(weights) - 1)].shape[1] for i in range(3)]
    if [query.shape[2], key.shape[2], value.shape[2]] != widths:
        raise ValueError(f"MultiheadAttention: {given}: the last dimensions must be {widths} (embed_dim, kdim, vdim)")
    length, batch, keys = query.shape[0], query.shape[1], key.shape[0]
    wanted = {
        "key_padding_mask": (key_padding_mask, [(batch, keys)], "(N, S)"),
        "attn_mask": (attn_mask, [(length, keys), (batch * num_heads, length, keys)], "(L, S) or (N num_heads, L, S)"),
    }
    for name, (mask, shapes, words) in wanted.items():
        if mask is None:
            continue
        if not isinstance(mask, Tensor) or not (mask.dtype is torch.bool or mask.is_floating_point()):
            raise TypeError(
                f"MultiheadAttention: {name} is {describe(mask)}: expected a boolean or floating-point mask"
            )
        if tuple(mask.shape) not in shapes:
            raise ValueError(
                f"MultiheadAttention: {name} has shape {tuple(mask.shape)}, expected {words}: "
                f"{' or '.join(map(str, shapes))}"
            )
