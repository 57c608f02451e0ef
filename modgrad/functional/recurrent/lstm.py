"""Long short-term memory, one step of it and one direction of one layer, each beside its derivative.

Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000 and the projection of Sak et al. 2014.

Records and shapes: as in `time`, with four gates, G = 4: input i, forget f, candidate g, output o. The states are h
(N, H), or (N, P) with a projection, and the cell c (N, H).
"""

from __future__ import annotations

import torch
from torch import Tensor

from modgrad.functional.kernel import kernel
from modgrad.functional.linear import linear, linear_grad_input, linear_grad_weight
from modgrad.functional.product import add_product_
from modgrad.functional.recurrent import onednn
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
    summed_bias,
    tanh_backward,
)

__all__ = ["lstm", "lstm_backward", "lstm_cell", "lstm_cell_backward"]


def lstm_cell(scores: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step, from the gates' scores z = W_ih x + b_ih + W_hh h + b_hh (N, 4H) and the cell c (N, H):

    i, f, o = sigmoid(z_i, z_f, z_o),   g = tanh(z_g)
    c' = f c + i g
    h' = o tanh(c')

    Returns h', c', and the gates after activation (N, 4H).
    """
    z_i, z_f, z_g, z_o = scores.chunk(4, -1)
    i, f, g, o = torch.sigmoid(z_i), torch.sigmoid(z_f), torch.tanh(z_g), torch.sigmoid(z_o)
    next_cell = f * cell + i * g
    return o * torch.tanh(next_cell), next_cell, torch.cat([i, f, g, o], -1)


def lstm_cell_backward(
    grad_hidden: Tensor, grad_cell: Tensor, gates: Tensor, cell: Tensor, next_cell: Tensor
) -> tuple[Tensor, Tensor]:
    """With t = tanh(c'), dL/dh' = grad_hidden, and what comes to c' from later steps = grad_cell:

    dL/dc' = grad_cell + dL/dh' o (1 - t^2)
    dL/dz_i = dL/dc' g i (1 - i)        from c' = f c + i g
    dL/dz_f = dL/dc' c f (1 - f)
    dL/dz_g = dL/dc' i (1 - g^2)
    dL/dz_o = dL/dh' t o (1 - o)        from h' = o t
    dL/dc = dL/dc' f

    Returns dL/dz (N, 4H) and dL/dc (N, H).
    """
    i, f, g, o = gates.chunk(4, -1)
    t = torch.tanh(next_cell)
    grad_cell = grad_cell + grad_hidden * o * (1 - t * t)
    grad_scores = [
        grad_cell * g * i * (1 - i),
        grad_cell * cell * f * (1 - f),
        grad_cell * i * (1 - g * g),
        grad_hidden * t * o * (1 - o),
    ]
    return torch.cat(grad_scores, -1), grad_cell * f


def _lstm_loop(input: Tensor, first: States, weights: Weights, order: Order) -> Layer:
    """The formula with few small operations for each step, in place in what is kept: scores become gates."""
    size = first[1].shape[-1]
    kept = linear(input, weights.weight_ih, summed_bias(weights))
    dtypes = first[1].dtype if weights.weight_hr is None else kept.dtype, first[1].dtype
    output, after = (
        kept.new_empty(*kept.shape[:-1], state.shape[-1], dtype=dtype)
        for state, dtype in zip(first, dtypes, strict=True)
    )
    alike = after.dtype == kept.dtype
    i, f, g, o = (order.parts(gate) for gate in kept.chunk(4, -1))
    scores, in_and_forget = order.parts(kept), order.parts(kept[..., : 2 * size])
    hiddens, cells, weight = order.parts(output), order.parts(after), weights.weight_hh.t()
    projection = None if weights.weight_hr is None else weights.weight_hr.t()
    walk = Walk(order, len(hiddens), first)
    for t in walk.times:
        hidden, cell = walk.enter(t)
        add_product_(scores[t], low(hidden, weight), weight)
        in_and_forget[t].sigmoid_()
        o[t].sigmoid_()
        cell = torch.mul(f[t], cell, out=cells[t])
        cell = cell.addcmul_(i[t], g[t].tanh_()) if alike else cell.add_(i[t] * g[t].tanh_())
        if projection is None:
            hidden = torch.tanh(cell, out=hiddens[t]).mul_(o[t])
        else:
            hidden = torch.mm(low(torch.tanh(cell).mul_(o[t]), projection), projection, out=hiddens[t])
        walk.states = hidden, cell
    return Layer(output, tuple(state.clone() for state in walk.end()), (kept, after))


def _lstm_backward_loop(
    grad: Tensor | None, grad_last: Grads, given: Given, layer: Layer, wanted: Wanted
) -> LayerGradients:
    """The formula, with what a step multiplies by made for all steps beforehand."""
    _, first, weights, order = given
    kept, cells = layer.kept
    kept = kept if kept.dtype == cells.dtype else kept.to(cells.dtype)
    i, f, g, o = kept.chunk(4, -1)
    tanh = torch.tanh(cells)
    slopes = kept.new_empty(*i.shape[:-1], 4, i.shape[-1])  # of i, f, g, o, which become dL/dz step by step
    of_i, of_f, of_g, of_o = slopes.unbind(-2)
    sigmoid_backward(g, i, grad_input=of_i)
    sigmoid_backward(before_each_step(first[1], cells, order), f, grad_input=of_f)
    tanh_backward(i, g, grad_input=of_g)
    sigmoid_backward(tanh, o, grad_input=of_o)
    to_cell, forget = order.parts(tanh_backward(o, tanh, grad_input=torch.empty_like(tanh))), order.parts(f)
    of_cell, of_hidden = order.parts(slopes[..., :3, :]), order.parts(of_o)
    of_scores = slopes.flatten(-2)
    scores, outputs = order.parts(of_scores), order.parts(layer.output)
    grads = None if grad is None else order.parts(grad)
    walk = Walk(order, len(scores), filled(grad_last, first), back=True)
    for t in walk.times:
        grad_hidden, grad_cell = walk.enter(t)
        if grads is not None:
            grad_hidden = grad_hidden + grads[t]
        if weights.weight_hr is not None:
            outputs[t] = low(grad_hidden, weights.weight_hr)
            grad_hidden = linear_grad_input(outputs[t], weights.weight_hr)
        grad_hidden = grad_hidden.to(kept.dtype)
        grad_cell = torch.addcmul(grad_cell, grad_hidden, to_cell[t])
        of_cell[t].mul_(grad_cell.unsqueeze(-2))
        of_hidden[t].mul_(grad_hidden)
        walk.states = linear_grad_input(low(scores[t], weights.weight_hh), weights.weight_hh), grad_cell.mul_(forget[t])
    hiddens = before_each_step(first[0], layer.output, order)
    found = all_gradients(of_scores, of_scores, walk.end(), given, hiddens, wanted)
    return _with_projection(found, outputs, o * tanh, weights, order)


def _with_projection(
    found: LayerGradients, grads: list[Tensor], before: Tensor, weights: Weights, order: Order
) -> LayerGradients:
    """The gradients with that of W_hr, if there is one.

    grads: dL/dh after each step; before (T, N, H): o tanh(c').
    """
    if weights.weight_hr is None or found.weights is None:
        return found
    gradient = linear_grad_weight(order.joined(grads), low(before, weights.weight_hr))
    return found._replace(weights=found.weights._replace(weight_hr=gradient))


def _lstm_kernel(input: Tensor, first: States, weights: Weights, order: Order = FORWARD) -> Layer:
    if onednn.takes(input, first, weights, order):
        return onednn.lstm(input, first, weights, order)
    if can_loop(input):
        return _lstm_loop(input, first, weights, order)
    return NotImplemented


@kernel(_lstm_kernel)
def lstm(input: Tensor, first: States, weights: Weights, order: Order = FORWARD) -> Layer:
    """`lstm_cell` over all time steps; with weight_hr, h' is projected: W_hr (o tanh(c')).   input (T, N, I).

    What the input gives to the gates is one matrix product for all steps. Keeps the gates (T, N, 4H) and the cell
    after each step, or bytes of oneDNN's kernel. That kernel runs on the CPU, in float32 and bfloat16, for sequences
    of one length; elsewhere (on a GPU too) a loop over the steps.
    """
    projected = order.parts(linear(input, weights.weight_ih, weights.bias_ih))
    walk, output, kept, cells = Walk(order, len(projected), first), *(list(projected) for _ in range(3))
    for t in walk.times:
        hidden, cell = walk.enter(t)
        scores = linear(low(hidden, weights.weight_hh), weights.weight_hh, weights.bias_hh) + projected[t]
        hidden, cells[t], kept[t] = lstm_cell(scores, cell)
        if weights.weight_hr is not None:
            hidden = linear(low(hidden, weights.weight_hr), weights.weight_hr)
        output[t] = hidden
        walk.states = hidden, cells[t]
    return Layer(order.joined(output), walk.end(), (order.joined(kept), order.joined(cells)))


def _lstm_backward_kernel(
    grad: Tensor | None, grad_last: Grads, given: Given, layer: Layer, wanted: Wanted = ALL
) -> LayerGradients:
    if onednn.kept_by_it(layer):
        return onednn.lstm_backward(grad, grad_last, given, layer)
    if can_loop(layer.output):
        return _lstm_backward_loop(grad, grad_last, given, layer, wanted)
    return NotImplemented


@kernel(_lstm_backward_kernel)
def lstm_backward(
    grad: Tensor | None, grad_last: Grads, given: Given, layer: Layer, wanted: Wanted = ALL
) -> LayerGradients:
    """`lstm_cell_backward` over the steps, the last taken first; dL/dz W_hh goes on to the step before.   Werbos 1990.

    grad (T, N, H): of the output; grad_last: of the last h and c; None where nothing came.
    """
    if onednn.kept_by_it(layer):  # which cannot be read here
        layer = lstm.formula(*given)  # type: ignore[attr-defined]
    _, first, weights, order = given
    gates, cells = layer.kept
    before = order.parts(before_each_step(first[1], cells, order))
    after, activated, grads = order.parts(cells), order.parts(gates), None if grad is None else order.parts(grad)
    walk = Walk(order, len(after), filled(grad_last, first), back=True)
    scores, of_hidden = list(after), list(after)
    for t in walk.times:
        grad_hidden, grad_cell = walk.enter(t)
        if grads is not None:
            grad_hidden = grad_hidden + grads[t]
        if weights.weight_hr is not None:
            of_hidden[t] = low(grad_hidden, weights.weight_hr)
            grad_hidden = linear_grad_input(of_hidden[t], weights.weight_hr)
        of_scores, grad_cell = lstm_cell_backward(grad_hidden, grad_cell, activated[t], before[t], after[t])
        scores[t] = low(of_scores, weights.weight_hh)
        walk.states = linear_grad_input(scores[t], weights.weight_hh), grad_cell
    of_scores, hiddens = order.joined(scores), before_each_step(first[0], layer.output, order)
    found = all_gradients(of_scores, of_scores, walk.end(), given, hiddens, wanted)
    return _with_projection(found, of_hidden, gates.chunk(4, -1)[3] * torch.tanh(cells), weights, order)
