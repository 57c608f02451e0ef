"""Randomness as state: what random primitives draw from while a whole step is to be a pure function of its inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modgrad.graph.errors import describe
from modgrad.graph.mode import switched


class Randomness:
    """Inside `with Randomness(seed):` random primitives draw from `seed` and the order of their calls, nothing else.

    seed (2) int64: (seed, number of the step). It may be an input of a traced program, and the next step's is
    `seed + torch.tensor([0, 1])`. Outside, torch's own generator is used, and seeded with torch.manual_seed.

    >>> import torch
    >>> from modgrad import nn
    >>> from modgrad.graph.randomness import Randomness
    >>> dropout, x = nn.Dropout(), torch.ones(2, 3)
    >>> with Randomness(torch.tensor([7, 0])) as randomness:
    ...     start = randomness.mark()
    ...     first, second = dropout(x), dropout(x)
    ...     randomness.rewind(start)
    ...     again = dropout(x)
    >>> torch.equal(first, again), torch.equal(first, second)
    (True, False)
    """

    def __init__(self, seed: Tensor) -> None:
        if not isinstance(seed, Tensor) or seed.shape != (2,) or seed.dtype is not torch.int64:
            raise TypeError(
                f"Randomness({describe(seed)}): expected an int64 tensor of two elements, "
                "torch.tensor([seed, number of the step])"
            )
        self.seed = seed
        self._number = 0
        self._switches: list[Any] = []

    def draw(self) -> tuple[Tensor, int]:
        """What the next drawing's key is made of, by `functional.random_key`: the seed, and how many came before."""
        number = self._number
        self._number = number + 1
        return self.seed, number

    def mark(self) -> int:
        """Where the drawings have got to, for `rewind`."""
        return self._number

    def rewind(self, mark: int) -> None:
        """Go to a place that `mark` gave: what is computed again there draws the same again.

        Who recomputes in backward marks the place before it, and goes back to that afterwards.
        """
        self._number = mark

    def __enter__(self) -> Randomness:
        switch = switched(randomness=self)
        switch.__enter__()
        self._switches.append(switch)
        return self

    def __exit__(self, *error: Any) -> None:
        self._switches.pop().__exit__(*error)
