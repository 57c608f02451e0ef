"""The affine map, with its three derivatives apart: towards the input, the weight and the bias."""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel
from modgrad.functional.product import add_product_, affine, product

__all__ = ["linear", "linear_grad_bias", "linear_grad_input", "linear_grad_weight", "linear_grad_weight_"]


@kernel(affine)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x W^T + b.   input (..., I), weight (O, I), bias (O), y (..., O)."""
    output = torch.matmul(input, weight.t())
    return output if bias is None else output + bias


def linear_grad_input(grad: Tensor, weight: Tensor) -> Tensor:
    """dL/dx = dL/dy W.   grad (..., O), weight (O, I); returns (..., I)."""
    if grad.dim() == 2:
        return product(grad, weight)
    flat = product(grad.reshape(-1, grad.shape[-1]), weight)
    return flat.reshape(*grad.shape[:-1], weight.shape[1])


def linear_grad_weight(grad: Tensor, input: Tensor) -> Tensor:
    """dL/dW = sum over positions of dL/dy x^T.   grad (..., O), input (..., I); returns (O, I)."""
    if grad.dim() != 2:
        grad = grad.reshape(-1, grad.shape[-1])
        input = input.reshape(-1, input.shape[-1])
    return product(grad.mT, input)


def linear_grad_weight_(sum: Tensor, grad: Tensor, input: Tensor) -> None:
    """`linear_grad_weight`, added to `sum` (O, I) without another tensor of its size."""
    if grad.dim() != 2:
        grad = grad.reshape(-1, grad.shape[-1])
        input = input.reshape(-1, input.shape[-1])
    add_product_(sum, grad.mT, input)


def linear_grad_bias(grad: Tensor) -> Tensor:
    """dL/db = sum over positions of dL/dy.   grad (..., O); returns (O)."""
    if grad.dim() != 2:
        grad = grad.reshape(-1, grad.shape[-1])
    return torch.sum(grad, 0)
