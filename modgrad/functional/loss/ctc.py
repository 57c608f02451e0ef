"""Connectionist temporal classification: how likely a labelling is, over all its alignments with a longer sequence.

Per Graves et al. 2006 ("Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with Recurrent
Neural Networks"). A path gives each of T steps a class, one of which is the blank; the labelling that it stands for is
the path with repeats joined, then blanks dropped. Over l', the labels y_1 ... y_S with blanks between and around them
(2 S + 1 places), a path moves by staying, by one place, or by two where that passes a blank between two different
labels. With e_t(s) the log-probability of l'_s at step t:

    alpha_t(s) = e_t(s) + log(exp alpha_{t-1}(s) + exp alpha_{t-1}(s-1) [+ exp alpha_{t-1}(s-2)])     eq. 5, 6
    beta_t(s)  = e_t(s) + log(exp beta_{t+1}(s) + exp beta_{t+1}(s+1) [+ exp beta_{t+1}(s+2)])        eq. 9, 10
    L = -log p(y | x) = -log(exp alpha_T(2 S) + exp alpha_T(2 S + 1))                                 eq. 8

alpha_t(s) is of all beginnings that are at s at step t, beta_t(s) of all ends, both with step t in them, so that
exp(alpha + beta - e + L) is the part of the paths through s at step t (eq. 14, 15). Everything stays in logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modgrad.functional.kernel import direct, kernel

__all__ = ["ctc_loss", "ctc_loss_backward"]

Lengths = Tensor | Sequence[int]  # one for each sequence of the batch
_ctc = direct(torch.ops.aten._ctc_loss.default)
_ctc_backward = direct(torch.ops.aten._ctc_loss_backward.default)
_NEVER = float("-inf")  # the logarithm of no probability


def _are_known(log_probs: Tensor, lengths: Lengths) -> bool:
    """Whether the shape of the kernel's second result is, which depends on the lengths."""
    return not isinstance(lengths, Tensor) and type(log_probs) is Tensor


def _ctc_loss_kernel(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    if not _are_known(log_probs, input_lengths):
        return NotImplemented
    targets = targets.contiguous()  # of others, one after another, the kernel takes the wrong ones
    losses, log_alpha = _ctc(log_probs, targets, input_lengths, target_lengths, blank, zero_infinity)
    return _reduced(losses, target_lengths, reduction, zero_infinity), losses, log_alpha


@kernel(_ctc_loss_kernel)
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """L of each sequence, inf where no path fits; their sum; or the mean of L / S, S = 1 for empty labellings.

    log_probs (T, N, C), targets (N, S) padded, or (sum of target_lengths) one after another; input_lengths,
    target_lengths (N), both numbers or, where a program is traced that cannot ask for their values, both tensors: then
    there is no kernel. zero_infinity: 0 in place of inf.
    Returns L, () or (N); and for the derivative each sequence's L (N) and alpha (N, T, 2 S + 1), of which only the
    places within the lengths mean anything.
    """
    e, _, can_skip, inputs, ends = _paths(log_probs, targets, input_lengths, target_lengths, blank)
    place = torch.arange(e.shape[2], device=e.device)
    alpha = torch.where(place <= ends.clamp(max=1), e[0], _NEVER)  # begins with the blank or the first label
    steps = [alpha]
    for t in range(1, e.shape[0]):
        before = torch.stack([alpha, _moved(alpha, 1), torch.where(can_skip, _moved(alpha, 2), _NEVER)])
        alpha = e[t] + torch.logsumexp(before, 0)
        steps.append(alpha)
    log_alpha = torch.stack(steps, 1)
    last = (inputs - 1).clamp(min=0).unsqueeze(2).expand(-1, 1, e.shape[2])
    at_end = log_alpha.gather(1, last).squeeze(1)
    at_end = torch.where((place <= ends) & (place >= ends - 1), at_end, _NEVER)
    # Of no steps there is one path, which is that of the empty labelling.
    losses = torch.where(inputs[:, 0] > 0, -torch.logsumexp(at_end, 1), torch.where(ends[:, 0] > 0, -_NEVER, 0.0))
    return _reduced(losses, target_lengths, reduction, zero_infinity), losses, log_alpha


def _ctc_loss_backward_kernel(
    grad: Tensor,
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    losses: Tensor,
    log_alpha: Tensor,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    if not _are_known(log_probs, input_lengths):
        return NotImplemented
    slope = _for_each(grad, losses, target_lengths, reduction)
    lengths = input_lengths, target_lengths
    return _ctc_backward(slope, log_probs, targets.contiguous(), *lengths, losses, log_alpha, blank, zero_infinity)


@kernel(_ctc_loss_backward_kernel)
def ctc_loss_backward(
    grad: Tensor,
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    losses: Tensor,
    log_alpha: Tensor,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """dL/du_t(k) = p_t(k) - sum over s with l'_s = k of exp(alpha_t(s) + beta_t(s) - e_t(s) + L)     eq. 16

    with p = exp(log_probs) and u the scores that log_probs is the log-softmax of: not the derivative with respect to
    log_probs itself, which is the second term alone. PyTorch gives the same. It makes no difference behind a
    log-softmax, whose derivative takes the first term to 0.
    Undefined, NaN, where L is infinite, unless zero_infinity, and where log_probs is; 0 beyond a sequence's length.
    """
    e, labels, can_skip, inputs, ends = _paths(log_probs, targets, input_lengths, target_lengths, blank)
    place = torch.arange(e.shape[2], device=e.device)
    may_end = (place <= ends) & (place >= ends - 1)
    beta = torch.full_like(e[0], _NEVER)
    steps = []
    for t in range(e.shape[0] - 1, -1, -1):
        skipped = _moved(torch.where(can_skip, beta, _NEVER), -2)
        on = e[t] + torch.logsumexp(torch.stack([beta, _moved(beta, -1), skipped]), 0)
        beta = torch.where(inputs - 1 == t, torch.where(may_end, e[t], _NEVER), on)
        steps.append(beta)
    log_beta = torch.stack(steps[::-1])  # (T, N, 2 S + 1)
    within = torch.arange(e.shape[0], device=e.device).reshape(-1, 1, 1) < inputs
    through = torch.exp(log_alpha.transpose(0, 1) + log_beta - e + losses.unsqueeze(1))
    through = torch.where(within & (place <= ends), through, 0.0)
    slope = torch.exp(log_probs).scatter_add(2, labels.expand(e.shape), -through)
    slope = torch.where((losses.unsqueeze(1) - log_probs).isfinite(), slope, float("nan"))
    if zero_infinity:
        within = within & ~losses.isinf().unsqueeze(1)
    return torch.where(within, slope * _for_each(grad, losses, target_lengths, reduction).unsqueeze(1), 0.0)


def _paths(
    log_probs: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths, blank: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What the recursions go over, l' having 2 S + 1 places.

    e (T, N, 2 S + 1) log-probabilities of l'; l' (N, 2 S + 1); whether each place can be come to from two before;
    the number of steps (N, 1); the last place of l' that counts (N, 1).
    """
    inputs, lengths = _tensor(input_lengths, log_probs), _tensor(target_lengths, log_probs)
    count, width = log_probs.shape[1], targets.shape[-1]  # the longest there can be, so that no shape depends on values
    if not isinstance(target_lengths, Tensor):
        width = max(target_lengths)
    number = torch.arange(width, device=targets.device)
    if targets.dim() == 1:
        starts = torch.cumsum(lengths, 0) - lengths
        targets = targets[(starts.unsqueeze(1) + number).clamp(max=max(targets.shape[0] - 1, 0))]
    padding = targets.new_full((count, 1), blank)
    labels = torch.where(number < lengths.unsqueeze(1), targets[:, :width], blank).long()
    between = torch.stack([padding.expand(count, width), labels], 2).flatten(1)
    labels = torch.cat([between, padding], 1).long()
    can_skip = torch.constant_pad_nd(labels[:, 2:] != labels[:, :-2], (2, 0), False)[:, : labels.shape[1]]
    e = log_probs.gather(2, labels.expand(log_probs.shape[0], -1, -1))
    return e, labels, can_skip, inputs.unsqueeze(1), 2 * lengths.unsqueeze(1)


def _moved(x: Tensor, by: int) -> Tensor:
    """x (N, places), each value `by` places on, and no probability where nothing came."""
    width = x.shape[1]
    if by > 0:
        return torch.constant_pad_nd(x, (by, 0), _NEVER)[:, :width]
    return torch.constant_pad_nd(x, (0, -by), _NEVER)[:, -width:]


def _tensor(lengths: Lengths, like: Tensor) -> Tensor:
    if isinstance(lengths, Tensor):
        return lengths.to(like.device, torch.int64)
    return torch.tensor(lengths, dtype=torch.int64, device=like.device)


def _reduced(losses: Tensor, target_lengths: Lengths, reduction: str, zero_infinity: bool) -> Tensor:
    if zero_infinity:
        losses = torch.where(losses == -_NEVER, 0.0, losses)
    if reduction == "mean":
        return (losses / _tensor(target_lengths, losses).clamp(min=1)).mean()
    return losses.sum() if reduction == "sum" else losses


def _for_each(grad: Tensor, losses: Tensor, target_lengths: Lengths, reduction: str) -> Tensor:
    """The upstream gradient of each sequence's L, (N)."""
    if reduction == "mean":
        grad = grad / losses.shape[0] / _tensor(target_lengths, losses).clamp(min=1)
    return grad.expand(losses.shape).to(losses.dtype)
