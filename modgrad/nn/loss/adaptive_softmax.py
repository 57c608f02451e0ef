"""A softmax over many classes of which few are frequent: the rare ones share clusters, scored by smaller maps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modgrad.graph import Module, no_grad
from modgrad.graph.errors import describe
from modgrad.graph.mode import mode
from modgrad.nn.container import ModuleList, Sequential
from modgrad.nn.linear import Linear
from modgrad.nn.loss.classes import CrossEntropyLoss

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class Scored(NamedTuple):
    """What AdaptiveLogSoftmaxWithLoss gives.

    output (N) or (): each target's log-probability. loss (): the mean of their negatives.
    """

    output: Any
    loss: Any


class AdaptiveLogSoftmaxWithLoss(Module):
    """log p(t) of each sample's target, and minus their mean.   Grave et al. 2017, "Efficient softmax ...", section 4.

    Classes are numbered from the most frequent on. The `head` scores the first cutoffs[0] of them and each cluster of
    the others as if it was one class; a cluster's `tail` scores its own classes, from features that are div_value times
    fewer with each cluster: log p(t) = log p(cluster) + log p(t | cluster).

    input (N, in_features) or (in_features), target (N) or (): classes 0 to n_classes - 1. Returns (output, loss).
    A cluster only computes the samples whose target it has. Traced, where that is not known, it computes all.
    """

    head: Linear
    tail: ModuleList

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        rising = all(low < high for low, high in pairwise([0, *cutoffs, n_classes]))
        if not cutoffs or not rising or any(int(c) != c for c in cutoffs):
            raise ValueError(
                f"AdaptiveLogSoftmaxWithLoss(n_classes={n_classes}, cutoffs={cutoffs}): expected at least one number, "
                f"each larger than the one before, from 1 to {n_classes - 1}"
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs, self.div_value, self.head_bias = [*cutoffs, n_classes], div_value, head_bias
        self.shortlist_size, self.n_clusters = self.cutoffs[0], len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            features = int(in_features // div_value ** (i + 1))
            narrow = Linear(in_features, features, bias=False, device=device, dtype=dtype)
            scores = Linear(features, high - low, bias=False, device=device, dtype=dtype)
            self.tail.append(Sequential(narrow, scores))

    def reset_parameters(self) -> None:
        self.head.reset_parameters()
        for narrow, scores in self.tail:
            narrow.reset_parameters()
            scores.reset_parameters()

    def forward(self, input_: Any, target_: Any) -> Scored:
        self._refuse_mismatch(input_, target_)
        single = target_.dim() == 0  # one sample, without the dimension of samples
        input, target = (input_.unsqueeze(0), target_.unsqueeze(0)) if single else (input_, target_)
        # In the head a rare class goes by the number of its cluster.
        clusters = [(target >= low) & (target < high) for low, high in pairwise(self.cutoffs)]
        in_head = target
        for i, inside in enumerate(clusters):
            in_head = torch.where(inside, self.shortlist_size + i, in_head)
        losses = _EACH(self.head(input), in_head)
        losses = losses + (
            self._of_all(input, target, clusters) if mode.tracing else self._of_own(input, target, clusters)
        )
        output = -losses
        return Scored(output.squeeze(0) if single else output, losses.mean())

    def _of_own(self, input: Any, target: Tensor, clusters: list[Tensor]) -> Any:
        """-log p(t | cluster) of each sample (N), each cluster given its own."""
        places = [torch.nonzero(target < self.shortlist_size).squeeze(1)]
        losses: list[Any] = [input.new_zeros(len(places[0]))]
        for tail, inside, low in zip(self.tail, clusters, self.cutoffs, strict=False):
            rows = torch.nonzero(inside).squeeze(1)
            if len(rows):
                places.append(rows)
                losses.append(_EACH(tail(input[rows]), target[rows] - low))
        return torch.cat(losses)[torch.argsort(torch.cat(places))]

    def _of_all(self, input: Any, target: Tensor, clusters: list[Tensor]) -> Any:
        """The same, each cluster given all samples and ignoring those of others."""
        losses: Any = 0
        for tail, inside, low in zip(self.tail, clusters, self.cutoffs, strict=False):
            losses = _EACH(tail(input), torch.where(inside, target - low, _EACH.ignore_index)) + losses
        return losses

    def log_prob(self, input: Any) -> Any:
        """log p of every class.   input (N, in_features); returns (N, n_classes)."""
        in_head = torch.log_softmax(self.head(input), 1)
        parts = [in_head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            cluster = in_head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(torch.log_softmax(tail(input), 1) + cluster)
        return torch.cat(parts, 1)

    def predict(self, input: Any) -> Tensor:
        """The most probable class of each sample.   input (N, in_features); returns (N), integers.

        The clusters are only asked where the head finds one of them more probable than any of its own classes.
        """
        with no_grad():
            found = torch.argmax(self.head(input), 1)
            rare = found >= self.shortlist_size
            if rare.any():
                found[rare] = torch.argmax(self.log_prob(input[rare]), 1)
        return found

    def _refuse_mismatch(self, input: Any, target: Any) -> None:
        name = type(self).__name__
        if target.is_floating_point() or target.dim() > 1 or input.dim() != target.dim() + 1:
            raise ValueError(
                f"{name}: input is {describe(input)}, target is {describe(target)}; expected "
                f"(N, {self.in_features}) and class indices (N), or ({self.in_features},) and ()"
            )
        if input.shape[:-1] != target.shape:
            raise ValueError(f"{name}: there are {input.shape[0]} samples and {target.shape[0]} targets")
        if mode.tracing:  # where the values are not known
            return
        wrong = (target < 0) | (target >= self.n_classes)
        if wrong.any():
            raise IndexError(
                f"{name}: class {int(target[wrong][0])} is out of bounds: classes are 0 to {self.n_classes - 1}"
            )


_EACH = CrossEntropyLoss(reduction="none")
