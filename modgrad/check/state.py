"""What must be the same at every evaluation: the state that modules keep, and the random numbers that they draw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from modgrad.graph import Module, Parameter


class State:
    """The attributes of a module and of all below it, and the values of its tensors (running statistics and the like).

    Parameters are left out: they are what a check moves.
    """

    def __init__(self, module: Module) -> None:
        self._attributes = [(m, dict(m.__dict__)) for m in module.modules()]
        self._tensors: list[tuple[Tensor, Tensor, int]] = [
            (value, value.clone(), value._version)
            for _, attributes in self._attributes
            for value in attributes.values()
            if isinstance(value, Tensor) and not isinstance(value, Parameter)
        ]

    def restore(self) -> None:
        """Bring it all back to what it was when this was made."""
        for module, before in self._attributes:
            now = module.__dict__
            if len(now) != len(before) or any(now.get(name, now) is not value for name, value in before.items()):
                now.clear()
                now.update(before)
        for place, (tensor, value, version) in enumerate(self._tensors):
            if tensor._version != version:
                tensor.copy_(value)
                self._tensors[place] = tensor, value, tensor._version


def _generators() -> list[Any]:
    """Torch's own random generators: the CPU's, and those of CUDA devices once they are in use."""
    in_use = torch.cuda.is_available() and torch.cuda.is_initialized()
    cuda = torch.cuda.default_generators if in_use else ()
    return [torch.default_generator, *cuda]


def reseed(seed: int) -> None:
    """Make modules that draw from torch's generators draw the same again."""
    for generator in _generators():
        generator.manual_seed(seed)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Afterwards torch's generators go on as if nothing had been drawn inside."""
    before = [(generator, generator.get_state()) for generator in _generators()]
    try:
        yield
    finally:
        for generator, state in before:
            generator.set_state(state)
