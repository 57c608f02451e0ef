"""Long short-term memory, one step of it and one direction of one layer, each beside its derivative.

Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.

Shapes: input (T, N, I), output (T, N, H), hidden and cell (N, H), weight_ih (4H, I), weight_hh (4H, H), biases (4H).
The four gates stand one after another in the dimension of 4H: input i, forget f, candidate g, output o.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel
from modgrad.functional.linear import linear, linear_grad_bias, linear_grad_input, linear_grad_weight

__all__ = ["lstm", "lstm_backward", "lstm_cell", "lstm_cell_backward"]

_mkldnn: Any = direct(torch.ops.aten.mkldnn_rnn_layer.default)
_mkldnn_backward: Any = direct(torch.ops.aten.mkldnn_rnn_layer_backward.default)
_LSTM = 2  # oneDNN's number for this kind of layer


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


Layer = tuple[Tensor, Tensor, Tensor, Tensor]  # output, last hidden, last cell, what backward needs
Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def _mkldnn_takes(input: Tensor) -> bool:
    """Whether the kernel does: on the CPU, and not while traced, when the length of what it keeps for its backward is
    not known."""
    return (
        type(input) is Tensor
        and input.device.type == "cpu"
        and torch._C._has_mkldnn
        and torch._C._get_mkldnn_enabled()
        and (input.dtype is torch.float32 or (input.dtype is torch.bfloat16 and _bfloat16()))
        and input.numel() > 0
    )


def _bfloat16() -> bool:
    """Whether this processor has what the kernel needs for bfloat16."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _mkldnn_arguments(
    input: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
) -> tuple[Tensor, ...]:
    """As the kernel takes them: always with biases, the first states with a dimension of layers."""
    none = input.new_zeros(weight_hh.shape[0])
    biases = none if bias_ih is None else bias_ih, none if bias_hh is None else bias_hh
    states = hidden.contiguous().unsqueeze(0), cell.contiguous().unsqueeze(0)
    return input.contiguous(), weight_ih, weight_hh, *biases, *states


def _can_loop(input: Tensor) -> bool:
    """Whether it is a real tensor, with something in it: a traced program is better without changes in place."""
    return type(input) is Tensor and input.numel() > 0


def _lstm_loop(
    input: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    reverse: bool,
) -> Layer:
    """The formula with few small operations for each step, in place in what is kept: scores become gates."""
    length, count, _ = input.shape
    size = hidden.shape[-1]
    kept = input.new_empty(length, count, 5 * size)
    kept[..., : 4 * size] = linear(input, weight_ih, bias_ih)
    if bias_hh is not None:
        kept[..., : 4 * size] += bias_hh
    output = input.new_empty(length, count, size)
    scores, in_and_forget = kept[..., : 4 * size].unbind(0), kept[..., : 2 * size].unbind(0)
    i, f, g, o, cells = (part.unbind(0) for part in kept.chunk(5, -1))
    hiddens, weight = output.unbind(0), weight_hh.t()
    steps = range(length)
    for t in reversed(steps) if reverse else steps:
        scores[t].addmm_(hidden, weight)
        in_and_forget[t].sigmoid_()
        o[t].sigmoid_()
        cell = torch.mul(f[t], cell, out=cells[t]).addcmul_(i[t], g[t].tanh_())
        hidden = torch.tanh(cell, out=hiddens[t]).mul_(o[t])
    return output, hidden.clone(), cell.clone(), kept


def _lstm_backward_loop(
    grad: Tensor | None,
    grad_hidden: Tensor | None,
    grad_cell: Tensor | None,
    input: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    output: Tensor,
    last_cell: Tensor,
    kept: Tensor,
    reverse: bool,
) -> Gradients:
    """The formula, with what a step multiplies by made for all steps beforehand."""
    i, f, g, o, cells = kept.chunk(5, -1)
    tanh = torch.tanh(cells)
    before = _before_each_step(cell, cells, reverse)
    slopes = torch.stack([g * i * (1 - i), before * f * (1 - f), i * (1 - g * g), tanh * o * (1 - o)], -2)
    to_cell, forget = (o * (1 - tanh * tanh)).unbind(0), f.unbind(0)
    of_cell, of_hidden = slopes[..., :3, :].unbind(0), slopes[..., 3, :].unbind(0)
    grad_scores = slopes.flatten(-2)  # which the slopes become, step by step
    grads = grad_scores.unbind(0)
    grad_hidden = torch.zeros_like(hidden) if grad_hidden is None else grad_hidden
    grad_cell = torch.zeros_like(cell) if grad_cell is None else grad_cell.clone()
    for_each_gate = grad_cell.unsqueeze(-2)
    steps = range(input.shape[0])
    for t in steps if reverse else reversed(steps):
        if grad is not None:
            grad_hidden = grad_hidden + grad[t]
        grad_cell.addcmul_(grad_hidden, to_cell[t])
        of_cell[t].mul_(for_each_gate)
        of_hidden[t].mul_(grad_hidden)
        grad_cell.mul_(forget[t])
        grad_hidden = linear_grad_input(grads[t], weight_hh)
    return _all_gradients(grad_scores, grad_hidden, grad_cell, input, hidden, weight_ih, output, reverse)


def _lstm_kernel(
    input: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    reverse: bool = False,
) -> Layer:
    if not _mkldnn_takes(input):
        loop = _lstm_loop if _can_loop(input) else lstm.formula  # type: ignore[attr-defined]
        return loop(input, hidden, cell, weight_ih, weight_hh, bias_ih, bias_hh, reverse)
    given = _mkldnn_arguments(input, hidden, cell, weight_ih, weight_hh, bias_ih, bias_hh)
    output, last_hidden, last_cell, kept = _mkldnn(
        *given, reverse, [], _LSTM, hidden.shape[-1], 1, True, False, False, True
    )
    return output, last_hidden.squeeze(0), last_cell.squeeze(0), kept


@kernel(_lstm_kernel)
def lstm(
    input: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    reverse: bool = False,
) -> Layer:
    """`lstm_cell` over all time steps, from the first to the last or in reverse.

    What the input gives to the gates is one matrix product for all steps. Returns the output, h and c after the last
    step taken, and what the backward needs: the gates and the cell after each step (T, N, 5H), or bytes of oneDNN's
    kernel. That kernel runs on the CPU, in float32 and bfloat16; elsewhere (on a GPU too) a loop over the steps.
    """
    projected = linear(input, weight_ih, bias_ih)
    steps = range(input.shape[0])
    hiddens, kept = list(projected.unbind(0)), list(projected.unbind(0))
    for t in reversed(steps) if reverse else steps:
        hidden, cell, gates = lstm_cell(linear(hidden, weight_hh, bias_hh) + projected[t], cell)
        hiddens[t], kept[t] = hidden, torch.cat([gates, cell], -1)
    return torch.stack(hiddens), hidden, cell, torch.stack(kept)


def _lstm_backward_kernel(
    grad: Tensor | None,
    grad_hidden: Tensor | None,
    grad_cell: Tensor | None,
    input: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    output: Tensor,
    last_cell: Tensor,
    kept: Tensor,
    reverse: bool = False,
) -> Gradients:
    if kept.dtype is not torch.uint8:
        rest = grad_cell, input, hidden, cell, weight_ih, weight_hh, bias_ih, bias_hh, output, last_cell, kept, reverse
        if _can_loop(input):
            return _lstm_backward_loop(grad, grad_hidden, *rest)
        return lstm_backward.formula(grad, grad_hidden, *rest)  # type: ignore[attr-defined]
    given = _mkldnn_arguments(input, hidden, cell, weight_ih, weight_hh, bias_ih, bias_hh)
    end = output, output[0 if reverse else -1].unsqueeze(0), last_cell.unsqueeze(0)
    grads = (
        None if grad is None else grad.contiguous(),
        None if grad_hidden is None else grad_hidden.contiguous().unsqueeze(0),
        None if grad_cell is None else grad_cell.contiguous().unsqueeze(0),
    )
    result = _mkldnn_backward(
        *given, *end, *grads, reverse, _LSTM, hidden.shape[-1], 1, True, True, False, [], False, kept
    )
    grad_input, grad_weight_ih, grad_weight_hh, grad_bias, _, first_hidden, first_cell = (
        g.to(input.dtype)
        for g in result  # which come in float32
    )
    return grad_input, first_hidden.squeeze(0), first_cell.squeeze(0), grad_weight_ih, grad_weight_hh, grad_bias


@kernel(_lstm_backward_kernel)
def lstm_backward(
    grad: Tensor | None,
    grad_hidden: Tensor | None,
    grad_cell: Tensor | None,
    input: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    output: Tensor,
    last_cell: Tensor,
    kept: Tensor,
    reverse: bool = False,
) -> Gradients:
    """`lstm_cell_backward` over the steps, the last taken first; dL/dh goes back by h W_hh^T.   Werbos 1990.

    grad: of the output; grad_hidden, grad_cell: of the last hidden and cell; None where nothing came.
    With dL/dz of all steps, everything else is one matrix product each. Returns the gradients of input, hidden, cell,
    weight_ih, weight_hh, and of a bias: both have the same, as they are added.
    """
    if kept.dtype is torch.uint8:  # a kernel's own, that cannot be read here
        _, _, _, kept = lstm.formula(  # type: ignore[attr-defined]
            input, hidden, cell, weight_ih, weight_hh, bias_ih, bias_hh, reverse
        )
    size = hidden.shape[-1]
    gates, cells = kept.split([4 * size, size], -1)
    grad_hidden = torch.zeros_like(hidden) if grad_hidden is None else grad_hidden
    grad_cell = torch.zeros_like(cell) if grad_cell is None else grad_cell
    cells_before = _before_each_step(cell, cells, reverse)
    steps = range(input.shape[0])
    grads = list(gates.unbind(0))
    for t in steps if reverse else reversed(steps):
        if grad is not None:
            grad_hidden = grad_hidden + grad[t]
        grads[t], grad_cell = lstm_cell_backward(grad_hidden, grad_cell, gates[t], cells_before[t], cells[t])
        grad_hidden = linear_grad_input(grads[t], weight_hh)
    return _all_gradients(torch.stack(grads), grad_hidden, grad_cell, input, hidden, weight_ih, output, reverse)


def _all_gradients(
    grad_scores: Tensor,
    grad_hidden: Tensor,
    grad_cell: Tensor,
    input: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    output: Tensor,
    reverse: bool,
) -> Gradients:
    """From dL/dz of all steps, and what came to the first hidden and cell."""
    return (
        linear_grad_input(grad_scores, weight_ih),
        grad_hidden,
        grad_cell,
        linear_grad_weight(grad_scores, input),
        linear_grad_weight(grad_scores, _before_each_step(hidden, output, reverse)),
        linear_grad_bias(grad_scores),
    )


def _before_each_step(first: Tensor, after: Tensor, reverse: bool) -> Tensor:
    """The state before each step (T, N, H), from the first state (N, H) and the states after each step (T, N, H)."""
    first = first.unsqueeze(0)
    return torch.cat([after[1:], first]) if reverse else torch.cat([first, after[:-1]])
