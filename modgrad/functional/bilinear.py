"""The bilinear map, with its derivatives apart: towards either input and the weight.

That of the bias is `linear_grad_bias`. Each is a product of matrices, with the weight read as a linear map from x2 to
one vector for each output.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.linear import linear, linear_grad_input, linear_grad_weight

__all__ = ["bilinear", "bilinear_grad_input1", "bilinear_grad_input2", "bilinear_grad_weight"]


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_o = (x1^T W_o) x2 + b_o.   input1 (..., I), input2 (..., J), weight (O, I, J), bias (O), y (..., O).

    In this order, as PyTorch: of infinities another order would make numbers of what is none.
    """
    output = torch.matmul(_applied(input1, weight.mT), input2.unsqueeze(-1)).squeeze(-1)
    return output if bias is None else output + bias


def bilinear_grad_input1(grad: Tensor, input2: Tensor, weight: Tensor) -> Tensor:
    """dL/dx1 = sum_o dL/dy_o W_o x2.   grad (..., O), input2 (..., J), weight (O, I, J); returns (..., I)."""
    return torch.matmul(grad.unsqueeze(-2), _applied(input2, weight)).squeeze(-2)


def bilinear_grad_input2(grad: Tensor, input1: Tensor, weight: Tensor) -> Tensor:
    """dL/dx2 = sum_o dL/dy_o W_o^T x1.   grad (..., O), input1 (..., I), weight (O, I, J); returns (..., J)."""
    return linear_grad_input(_outer(grad, input1), weight.flatten(0, 1))


def bilinear_grad_weight(grad: Tensor, input1: Tensor, input2: Tensor) -> Tensor:
    """dL/dW_o = sum over positions of dL/dy_o x1 x2^T.   grad (..., O), input1 (..., I), input2 (..., J)."""
    shape = grad.shape[-1], input1.shape[-1], input2.shape[-1]
    return linear_grad_weight(_outer(grad, input1), input2).reshape(shape)


def _applied(input: Tensor, weight: Tensor) -> Tensor:
    """(W_o x)_i as (..., O, I), for x (..., J) and W (O, I, J)."""
    return linear(input, weight.flatten(0, 1)).unflatten(-1, weight.shape[:2])


def _outer(grad: Tensor, input1: Tensor) -> Tensor:
    """dL/dy_o x1_i as (..., O I)."""
    return (grad.unsqueeze(-1) * input1.unsqueeze(-2)).flatten(-2)
