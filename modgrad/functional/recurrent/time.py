"""What recurrent layers share: the records that their functions take and give, and the walk over the time steps.

Sequences of one length lie in one tensor (T, N, ...). Packed ones, longest first, lie step after step in (R, ...): the
rows of the `sizes[0]` sequences that have a first step, then those of the `sizes[1]` that have a second, and so on.
N = sizes[0] is how many sequences there are, R = sum(sizes). Below, (T, N, ...) stands for either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modgrad.functional.kernel import direct
from modgrad.functional.linear import linear_grad_bias, linear_grad_input, linear_grad_weight

__all__ = ["Given", "Layer", "LayerGradients", "Order", "Wanted", "Weights"]

# grad y (1 - y) and grad (1 - y^2), written where `grad_input` is: for the loops.
sigmoid_backward: Any = direct(torch.ops.aten.sigmoid_backward.grad_input)
tanh_backward: Any = direct(torch.ops.aten.tanh_backward.grad_input)

States = tuple[Tensor, ...]  # what goes from step to step, (N, ...) each: h, and for an LSTM c
Grads = Sequence[Tensor | None]  # of the last states; None where nothing came


class Weights(NamedTuple):
    """The parameters of one direction of a layer, whose G gates stand one after another in the dimension of G H."""

    weight_ih: Tensor  # (G H, I)
    weight_hh: Tensor  # (G H, H), or (G H, P) with weight_hr
    bias_ih: Tensor | None = None  # (G H)
    bias_hh: Tensor | None = None  # (G H)
    weight_hr: Tensor | None = None  # (P, H), which projects an LSTM's output


class Order(NamedTuple):
    """In which order the steps are taken, and how many sequences have each."""

    reverse: bool = False  # from the last step to the first
    sizes: tuple[int, ...] | None = None  # of packed sequences; None where all have all steps

    def parts(self, x: Tensor) -> list[Tensor]:
        """x (T, N, ...) by steps: (N, ...) each."""
        if self.sizes is None:
            return list(x.unbind(0))
        return [x] if len(self.sizes) == 1 else list(x.split(self.sizes))

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """The parts as one tensor (T, N, ...)."""
        if self.sizes is None:
            return torch.stack(list(parts))
        return parts[0] if len(parts) == 1 else torch.cat(list(parts))


class Given(NamedTuple):
    """What a layer was given, for its backward."""

    input: Tensor | None  # (T, N, I); None will do where no weight's gradient is wanted
    first: States
    weights: Weights
    order: Order


class Wanted(NamedTuple):
    """Which gradients a backward is to give; None comes in place of the others."""

    input: bool = True
    weights: bool = True


FORWARD, ALL = Order(), Wanted()


class Layer(NamedTuple):
    """What a layer gives. Its backward looks at the output and at what was kept."""

    output: Tensor  # (T, N, H): h after each step
    last: States  # (N, ...): the states after the last step that each sequence takes
    kept: tuple[Tensor, ...]  # what the backward needs beside these


class LayerGradients(NamedTuple):
    input: Tensor | None
    first: States  # of the states before the first step
    weights: Weights | None


class Walk:
    """The states on their way from step to step, forward in time or `back` again.

    A state gets fewer rows where sequences end, and more where others begin: those then come from `start`. Going back,
    it is the other way round, and what goes from step to step are the states' gradients.
    """

    def __init__(self, order: Order, steps: int, start: States, back: bool = False) -> None:
        reverse = order.reverse != back
        self.times: Iterable[int] = range(steps - 1, -1, -1) if reverse else range(steps)
        self.start = self.states = start
        self.sizes = order.sizes
        self._ended: list[States] = []
        if self.sizes is not None and reverse:
            self.states = tuple(state[: self.sizes[-1]] for state in start)

    def enter(self, t: int) -> States:
        """The states of the sequences that have step t, after the step before. The caller puts into `states` what they
        then become."""
        if self.sizes is None:
            return self.states
        size, have = self.sizes[t], self.states[0].shape[0]
        if size < have:
            self._ended.append(tuple(state[size:] for state in self.states))
            self.states = tuple(state[:size] for state in self.states)
        elif size > have:
            pairs = zip(self.states, self.start, strict=True)
            self.states = tuple(torch.cat([state, start[have:size]]) for state, start in pairs)
        return self.states

    def end(self) -> States:
        """The states of all sequences, each after its last step."""
        if not self._ended:
            return self.states
        return tuple(torch.cat(pieces) for pieces in zip(self.states, *reversed(self._ended), strict=True))


def before_each_step(first: Tensor, after: Tensor, order: Order) -> Tensor:
    """The state before each step (T, N, H), from the first state (N, H) and the states after each step (T, N, H)."""
    reverse, sizes = order
    if sizes is None:
        one = first.unsqueeze(0)
        return torch.cat([after[1:], one]) if reverse else torch.cat([one, after[:-1]])
    if len(sizes) == 1:
        return first
    parts = order.parts(after)
    if not reverse:
        return torch.cat([first, *(part[:size] for part, size in zip(parts, sizes[1:], strict=False))])
    pieces = [first[: sizes[-1]]]
    for t in range(len(sizes) - 2, -1, -1):
        pieces += [first[sizes[t + 1] : sizes[t]], parts[t + 1]]
    return torch.cat(pieces[::-1])


def can_loop(input: Tensor) -> bool:
    """Whether it is a real tensor, with something in it: a traced program is better without changes in place."""
    return type(input) is Tensor and input.numel() > 0


def low(x: Tensor, weight: Tensor) -> Tensor:
    """What meets a weight in a product. Under autocast states have more digits than weights: products are taken in the
    weights' dtype, and what is done to each value by itself in the states'."""
    return x if x.dtype == weight.dtype else x.to(weight.dtype)


def summed_bias(weights: Weights) -> Tensor | None:
    """What the biases give to the scores together."""
    if weights.bias_ih is None or weights.bias_hh is None:
        return None
    return weights.bias_ih + weights.bias_hh


def filled(grads: Sequence[Tensor | None], states: States) -> States:
    """Zeros in place of the gradients of states that got none."""
    return tuple(torch.zeros_like(s) if g is None else g for g, s in zip(grads, states, strict=True))


def all_gradients(
    of_input: Tensor, of_hidden: Tensor, first: States, given: Given, before: Tensor, wanted: Wanted
) -> LayerGradients:
    """What follows from the gradients of the scores of all steps: one matrix product each.

    of_input, of_hidden (T, N, G H): dL/d(W_ih x + b_ih) and dL/d(W_hh h + b_hh). first: gradients of the first states.
    before (T, N, H): h before each step.
    """
    weights, found = given.weights, None
    one = of_hidden is of_input
    of_input = low(of_input, weights.weight_ih)
    of_hidden = of_input if one else low(of_hidden, weights.weight_hh)
    if wanted.weights:
        assert given.input is not None
        found = Weights(
            linear_grad_weight(of_input, given.input),
            linear_grad_weight(of_hidden, low(before, weights.weight_hh)),
            bias := None if weights.bias_ih is None else linear_grad_bias(of_input),
            None if weights.bias_hh is None else bias if one else linear_grad_bias(of_hidden),
        )
    return LayerGradients(linear_grad_input(of_input, weights.weight_ih) if wanted.input else None, first, found)
