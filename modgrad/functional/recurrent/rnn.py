"""The simple recurrent layer, with tanh or with relu, beside its derivative.   Elman 1990.

Records and shapes: as in `time`, with one gate, G = 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel
from modgrad.functional.linear import linear, linear_grad_input
from modgrad.functional.product import add_product_
from modgrad.functional.recurrent.time import (
    ALL,
    FORWARD,
    Given,
    Grads,
    Layer,
    LayerGradients,
    Order,
    States,
    Walk,
    Wanted,
    Weights,
    all_gradients,
    before_each_step,
    can_loop,
    filled,
    summed_bias,
)

__all__ = ["rnn_relu", "rnn_relu_backward", "rnn_tanh", "rnn_tanh_backward"]

_tanh_backward: Any = direct(torch.ops.aten.tanh_backward.default)
_threshold_backward: Any = direct(torch.ops.aten.threshold_backward.default)


def _by_steps(
    activation: Callable[[Tensor], Tensor], input: Tensor, first: States, weights: Weights, order: Order
) -> Layer:
    projected = order.parts(linear(input, weights.weight_ih, weights.bias_ih))
    walk, output = Walk(order, len(projected), first), list(projected)
    for t in walk.times:
        (hidden,) = walk.enter(t)
        output[t] = activation(projected[t] + linear(hidden, weights.weight_hh, weights.bias_hh))
        walk.states = (output[t],)
    return Layer(order.joined(output), walk.end(), ())


def _back_by_steps(
    derivative: Callable[[Tensor, Tensor], Tensor],
    grad: Tensor | None,
    grad_last: Grads,
    given: Given,
    layer: Layer,
    wanted: Wanted = ALL,
) -> LayerGradients:
    """derivative: (dL/dh, h) -> dL/ds, where h = activation(s)."""
    _, first, weights, order = given
    output = order.parts(layer.output)
    grads = None if grad is None else order.parts(grad)
    walk = Walk(order, len(output), filled(grad_last, first), back=True)
    scores = list(output)
    for t in walk.times:
        (grad_hidden,) = walk.enter(t)
        if grads is not None:
            grad_hidden = grad_hidden + grads[t]
        scores[t] = derivative(grad_hidden, output[t])
        walk.states = (linear_grad_input(scores[t], weights.weight_hh),)
    before = before_each_step(first[0], layer.output, order)
    of_scores = order.joined(scores)
    return all_gradients(of_scores, of_scores, walk.end(), given, before, wanted)


def _loop(activation_: Callable[[Tensor], Tensor]) -> Callable[..., Layer]:
    """The same in place, in what is to be the output."""

    def run(input: Tensor, first: States, weights: Weights, order: Order = FORWARD) -> Layer:
        if not can_loop(input):
            return NotImplemented
        output = linear(input, weights.weight_ih, summed_bias(weights))
        parts, weight = order.parts(output), weights.weight_hh.t()
        walk = Walk(order, len(parts), first)
        for t in walk.times:
            (hidden,) = walk.enter(t)
            add_product_(parts[t], hidden, weight)
            walk.states = (activation_(parts[t]),)
        return Layer(output, tuple(state.clone() for state in walk.end()), ())

    return run


@kernel(_loop(torch.tanh_))
def rnn_tanh(input: Tensor, first: States, weights: Weights, order: Order = FORWARD) -> Layer:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh) over all time steps.   input (T, N, I), first: h (N, H)."""
    return _by_steps(torch.tanh, input, first, weights, order)


@kernel(partial(_back_by_steps, _tanh_backward))
def rnn_tanh_backward(
    grad: Tensor | None, grad_last: Grads, given: Given, layer: Layer, wanted: Wanted = ALL
) -> LayerGradients:
    """dL/ds = dL/dh' (1 - h'^2), with h' = tanh(s); dL/dh = dL/ds W_hh goes on to the step before.   Werbos 1990.

    grad (T, N, H): of the output; grad_last: of the last h; None where nothing came.
    """
    return _back_by_steps(lambda grad, h: grad * (1 - h * h), grad, grad_last, given, layer, wanted)


@kernel(_loop(torch.relu_))
def rnn_relu(input: Tensor, first: States, weights: Weights, order: Order = FORWARD) -> Layer:
    """h' = relu(W_ih x + b_ih + W_hh h + b_hh) over all time steps.   input (T, N, I), first: h (N, H)."""
    return _by_steps(torch.relu, input, first, weights, order)


@kernel(partial(_back_by_steps, lambda grad, h: _threshold_backward(grad, h, 0)))
def rnn_relu_backward(
    grad: Tensor | None, grad_last: Grads, given: Given, layer: Layer, wanted: Wanted = ALL
) -> LayerGradients:
    """dL/ds = dL/dh' where h' > 0, else 0, with h' = relu(s); the rest as in `rnn_tanh_backward`."""
    return _back_by_steps(lambda grad, h: torch.where(h <= 0, 0, grad), grad, grad_last, given, layer, wanted)
