"""The best that was found by hand: PyTorch's step, traced and taken apart, and its exporter kept from its mistakes.

What it takes beyond `make_fx`: attention by its formula; convolution's backward, pooling's and batch normalization's
taken apart by a table of one's own; the numbers of the optimizer as tensors of float32, since the exporter rounds
Python's and deletes an eps; no optimization. Every further layer wants its own entry, and nothing but a comparison of
the weights tells that one was forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.stock_routes.models import Subject, made
from benchmarks.stock_routes.routes import Run, fed_back
from benchmarks.stock_routes.step import BETAS, EPS, LR, Step, by_func

aten = torch.ops.aten


def convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    mask: list[bool],
) -> tuple[Tensor | None, ...]:
    """For strides of 1, without groups: a transposed convolution, and one in which batch and channels change places."""
    assert (stride, dilation, transposed, groups) == ([1, 1], [1, 1], False, 1)
    to_x = F.conv_transpose2d(grad, weight, padding=padding) if mask[0] else None
    to_weight = F.conv2d(x.transpose(0, 1), grad.transpose(0, 1), padding=padding).transpose(0, 1) if mask[1] else None
    return to_x, to_weight, grad.sum((0, 2, 3)) if mask[2] else None


def max_pool2d(x: Tensor, size: list[int], stride: Any = (), *_: Any) -> tuple[Tensor, Tensor]:
    """Without overlap or padding: the windows side by side, and the place of each maximum within its window."""
    assert list(stride or size) == list(size)
    B, C, H, W = x.shape
    h, w = size
    windows = x.reshape(B, C, H // h, h, W // w, w).transpose(3, 4).reshape(B, C, H // h, W // w, h * w)
    return windows.amax(-1), windows.argmax(-1)


def max_pool2d_backward(grad: Tensor, x: Tensor, size: list[int], *others: Any) -> Tensor:
    *_, indices = others
    B, C, H, W = x.shape
    h, w = size
    hit = indices.unsqueeze(-1) == torch.arange(h * w)
    spread = torch.where(hit, grad.unsqueeze(-1), torch.zeros(()))
    return spread.reshape(B, C, H // h, W // w, h, w).transpose(3, 4).reshape(x.shape)


OWN: dict[Any, Callable[..., Any]] = {
    aten.convolution_backward.default: convolution_backward,
    aten.max_pool2d_with_indices.default: max_pool2d,
    aten.max_pool2d_with_indices_backward.default: max_pool2d_backward,
}
KNOWN = [  # what PyTorch takes apart itself, if asked
    aten.nll_loss_forward,
    aten.nll_loss_backward,
    aten.nll_loss2d_forward,
    aten.nll_loss2d_backward,
    aten._log_softmax_backward_data,
    aten._softmax_backward_data,
    aten.threshold_backward,
    aten.native_batch_norm,
    aten._native_batch_norm_legit,
    aten._native_batch_norm_legit_functional,
    aten.native_batch_norm_backward,
    aten.native_layer_norm_backward,
    aten.gelu_backward,
    aten.embedding_dense_backward,
]


def by_hand(subject: Subject, path: Path) -> Run:
    model, batch = made(subject)
    step = Step(model, by_func, [torch.tensor([number]) for number in (EPS, LR, *BETAS)])
    arguments = (*step.initial(), *batch)
    table = {**torch._decomp.get_decompositions(KNOWN), **OWN}
    with sdpa_kernel(SDPBackend.MATH):
        graph = make_fx(step, decomposition_table=table)(*arguments)
    torch.onnx.export(graph, arguments, path, dynamo=True, verbose=False, optimize=False)
    return fed_back(path, step, batch)
