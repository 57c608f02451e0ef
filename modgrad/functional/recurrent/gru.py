"""Gated recurrent units, one step and one direction of one layer, each beside its derivative.   Cho et al. 2014.

Records and shapes: as in `time`, with three gates, G = 3: reset r, update z, candidate n.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel
from modgrad.functional.linear import linear, linear_grad_input
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
    low,
    sigmoid_backward,
    tanh_backward,
)

__all__ = ["gru", "gru_backward", "gru_cell", "gru_cell_backward"]


def gru_cell(of_input: Tensor, of_hidden: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """One step, from x = W_ih input + b_ih and y = W_hh h + b_hh, both (N, 3H), and h (N, H):

    r, z = sigmoid(x_r + y_r), sigmoid(x_z + y_z)
    n = tanh(x_n + r y_n)
    h' = n + z (h - n)

    The reset comes after the matrix product, as in the first version of the paper and in cuDNN.
    Returns h', and the gates after activation: r, z and n (N, 3H).
    """
    (x_r, x_z, x_n), (y_r, y_z, y_n) = of_input.chunk(3, -1), of_hidden.chunk(3, -1)
    r, z = torch.sigmoid(x_r + y_r), torch.sigmoid(x_z + y_z)
    n = torch.tanh(x_n + r * y_n)
    return n + z * (hidden - n), torch.cat([r, z, n], -1)


def gru_cell_backward(grad_hidden: Tensor, gates: Tensor, y_n: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """With dL/dh' = grad_hidden, and of the scores, before sigmoid and tanh:

    dL/dz = dL/dh' (h - n) z (1 - z)      from h' = n + z (h - n)
    dL/dn = dL/dh' (1 - z) (1 - n^2)
    dL/dy_n = dL/dn r                     from x_n + r y_n
    dL/dr = dL/dn y_n r (1 - r)
    dL/dh = dL/dh' z                      beside what comes through y

    Returns dL/dx and dL/dy (N, 3H), and dL/dh (N, H).
    """
    r, z, n = gates.chunk(3, -1)
    of_update = grad_hidden * (hidden - n) * z * (1 - z)
    of_candidate = grad_hidden * (1 - z) * (1 - n * n)
    of_reset = of_candidate * y_n * r * (1 - r)
    of_input = torch.cat([of_reset, of_update, of_candidate], -1)
    of_hidden = torch.cat([of_reset, of_update, of_candidate * r], -1)
    return of_input, of_hidden, grad_hidden * z


def _gru_loop(input: Tensor, first: States, weights: Weights, order: Order = FORWARD) -> Layer:
    """The formula with few operations for each step, in place in what is kept: scores become gates."""
    if not can_loop(input):
        return NotImplemented
    size = first[0].shape[-1]
    kept = linear(input, weights.weight_ih, weights.bias_ih)
    of_candidate, output = (kept.new_empty(*kept.shape[:-1], size, dtype=x.dtype) for x in (kept, first[0]))
    alike = output.dtype == kept.dtype
    r, z, n = (order.parts(gate) for gate in kept.chunk(3, -1))
    both, y_n, hiddens = order.parts(kept[..., : 2 * size]), order.parts(of_candidate), order.parts(output)
    walk = Walk(order, len(hiddens), first)
    for t in walk.times:
        (hidden,) = walk.enter(t)
        of_hidden = linear(low(hidden, weights.weight_hh), weights.weight_hh, weights.bias_hh)
        of_both, of_n = of_hidden.split([2 * size, size], -1)
        both[t].add_(of_both).sigmoid_()
        n[t].addcmul_(r[t], y_n[t].copy_(of_n)).tanh_()
        if alike:
            hidden = torch.lerp(n[t], hidden, z[t], out=hiddens[t])
        else:
            hidden = torch.sub(hidden, n[t], out=hiddens[t]).mul_(z[t]).add_(n[t])
        walk.states = (hidden,)
    return Layer(output, tuple(state.clone() for state in walk.end()), (kept, of_candidate))


def _gru_backward_loop(
    grad: Tensor | None, grad_last: Grads, given: Given, layer: Layer, wanted: Wanted = ALL
) -> LayerGradients:
    """The formula, with what a step multiplies by made for all steps beforehand."""
    if not can_loop(layer.output):
        return NotImplemented
    _, first, weights, order = given
    before = before_each_step(first[0], layer.output, order)
    kept, y_n = (x if x.dtype == before.dtype else x.to(before.dtype) for x in layer.kept)
    r, z, n = kept.chunk(3, -1)
    size = n.shape[-1]
    slopes = kept.new_empty(*n.shape[:-1], 3, size)  # of r, z and y_n, which become dL/d(scores), step by step
    of_r, of_z, of_y = slopes.unbind(-2)
    of_n = tanh_backward(1 - z, n, grad_input=torch.empty_like(before))
    torch.mul(of_n, r, out=of_y)
    sigmoid_backward(of_n * y_n, r, grad_input=of_r)
    sigmoid_backward(before - n, z, grad_input=of_z)
    of_hidden = slopes.flatten(-2)
    parts, scores, candidates, updates = (order.parts(x) for x in (slopes, of_hidden, of_n, z))
    grads = None if grad is None else order.parts(grad)
    walk = Walk(order, len(parts), filled(grad_last, first), back=True)
    for t in walk.times:
        (grad_hidden,) = walk.enter(t)
        if grads is not None:
            grad_hidden = grad_hidden + grads[t]
        parts[t].mul_(grad_hidden.unsqueeze(-2))
        candidates[t].mul_(grad_hidden)
        of_product = linear_grad_input(low(scores[t], weights.weight_hh), weights.weight_hh).to(grad_hidden.dtype)
        walk.states = (of_product.addcmul_(grad_hidden, updates[t]),)
    of_input = torch.cat([of_hidden[..., : 2 * size], of_n], -1)
    return all_gradients(of_input, of_hidden, walk.end(), given, before, wanted)


@kernel(_gru_loop)
def gru(input: Tensor, first: States, weights: Weights, order: Order = FORWARD) -> Layer:
    """`gru_cell` over all time steps.   input (T, N, I), first: h (N, H).

    What the input gives to the gates is one matrix product for all steps. Keeps r, z and n (T, N, 3H), and y_n.
    """
    projected = order.parts(linear(input, weights.weight_ih, weights.bias_ih))
    walk, output, gates, y_n = Walk(order, len(projected), first), *(list(projected) for _ in range(3))
    for t in walk.times:
        (hidden,) = walk.enter(t)
        of_hidden = linear(low(hidden, weights.weight_hh), weights.weight_hh, weights.bias_hh)
        output[t], gates[t] = gru_cell(projected[t], of_hidden, hidden)
        y_n[t] = of_hidden[..., 2 * hidden.shape[-1] :]
        walk.states = (output[t],)
    return Layer(order.joined(output), walk.end(), (order.joined(gates), order.joined(y_n)))


@kernel(_gru_backward_loop)
def gru_backward(
    grad: Tensor | None, grad_last: Grads, given: Given, layer: Layer, wanted: Wanted = ALL
) -> LayerGradients:
    """`gru_cell_backward` over the steps, the last taken first; dL/dy W_hh goes on to the step before.   Werbos 1990.

    grad (T, N, H): of the output; grad_last: of the last h; None where nothing came.
    """
    _, first, weights, order = given
    gates, y_n = (order.parts(x) for x in layer.kept)
    before = before_each_step(first[0], layer.output, order)
    hiddens, grads = order.parts(before), None if grad is None else order.parts(grad)
    walk = Walk(order, len(gates), filled(grad_last, first), back=True)
    of_input, of_hidden = list(gates), list(gates)
    for t in walk.times:
        (grad_hidden,) = walk.enter(t)
        if grads is not None:
            grad_hidden = grad_hidden + grads[t]
        of_input[t], of_hidden[t], direct = gru_cell_backward(grad_hidden, gates[t], y_n[t], hiddens[t])
        walk.states = (direct + linear_grad_input(low(of_hidden[t], weights.weight_hh), weights.weight_hh),)
    both = order.joined(of_input), order.joined(of_hidden)
    return all_gradients(*both, walk.end(), given, before, wanted)
