"""oneDNN's kernel of one direction of one layer of an LSTM, on the CPU: the whole walk over time is one call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct
from modgrad.functional.recurrent.time import Given, Grads, Layer, LayerGradients, Order, States, Weights

_forward: Any = direct(torch.ops.aten.mkldnn_rnn_layer.default)
_backward: Any = direct(torch.ops.aten.mkldnn_rnn_layer_backward.default)
_LSTM = 2  # oneDNN's number for this kind of layer; PyTorch's binding knows no other


def takes(input: Tensor, first: States, weights: Weights, order: Order) -> bool:
    """Whether the kernel does: on the CPU, and not while traced, when the length of what it keeps for its backward is
    not known."""
    return (
        type(input) is Tensor
        and input.device.type == "cpu"
        and order.sizes is None
        and weights.weight_hr is None
        and torch._C._has_mkldnn
        and torch._C._get_mkldnn_enabled()
        and (input.dtype is torch.float32 or (input.dtype is torch.bfloat16 and _bfloat16()))
        and input.numel() > 0
        and all(state.dtype == input.dtype for state in first)
    )


def _bfloat16() -> bool:
    """Whether this processor has what the kernel needs for bfloat16."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def kept_by_it(layer: Layer) -> bool:
    """Whether what was kept are the kernel's bytes, and the last cell."""
    return layer.kept[0].dtype is torch.uint8


def _arguments(input: Tensor, first: States, weights: Weights) -> tuple[Tensor, ...]:
    """As the kernel takes them: always with biases, the first states with a dimension of layers."""
    weight_ih, weight_hh, bias_ih, bias_hh, _ = weights
    none = input.new_zeros(weight_hh.shape[0])
    biases = none if bias_ih is None else bias_ih, none if bias_hh is None else bias_hh
    hidden, cell = (state.contiguous().unsqueeze(0) for state in first)
    return input.contiguous(), weight_ih, weight_hh, *biases, hidden, cell


def lstm(input: Tensor, first: States, weights: Weights, order: Order) -> Layer:
    given = _arguments(input, first, weights)
    size = first[0].shape[-1]
    output, hidden, cell, kept = _forward(*given, order.reverse, [], _LSTM, size, 1, True, False, False, True)
    last = hidden.squeeze(0), cell.squeeze(0)
    return Layer(output, last, (kept, last[1]))


def lstm_backward(grad: Tensor | None, grad_last: Grads, given: Given, layer: Layer) -> LayerGradients:
    """All of them: the kernel knows no others."""
    input, first, weights, order = given
    assert input is not None
    kept, cell = layer.kept
    end = layer.output, layer.output[0 if order.reverse else -1].unsqueeze(0), cell.unsqueeze(0)
    grads = (
        None if grad is None else grad.contiguous(),
        *(None if g is None else g.contiguous().unsqueeze(0) for g in grad_last),
    )
    rest: tuple[Any, ...] = order.reverse, _LSTM, first[0].shape[-1], 1, True, True, False, [], False, kept
    result = _backward(*_arguments(input, first, weights), *end, *grads, *rest)
    of_input, weight_ih, weight_hh, bias, _, first_hidden, first_cell = (
        g.to(input.dtype)
        for g in result  # which come in float32
    )
    biases = (bias, bias) if weights.bias_ih is not None else (None, None)
    first_states = first_hidden.squeeze(0), first_cell.squeeze(0)
    return LayerGradients(of_input, first_states, Weights(weight_ih, weight_hh, *biases))
