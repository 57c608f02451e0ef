"""Where the ported models are registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MODELS: dict[str, tuple[Callable[[Any], Any], tuple[tuple[int, ...], ...]]] = {}


def model(*shapes: tuple[int, ...]) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register a function that makes a model out of the layers of `nn`, with the shapes of the model's inputs."""

    def register(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        MODELS[make.__name__] = make, shapes
        return make

    return register
