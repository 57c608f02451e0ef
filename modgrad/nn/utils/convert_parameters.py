"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from modgrad.graph.call import plain
from modgrad.graph.errors import describe

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Any]) -> Tensor:
    """All values of `parameters`, one after the other.   (sum of their sizes,)

    Recorded, as any operation on parameters: a penalty on it gives them gradients.
    """
    given = list(parameters)
    _refuse_devices(given)
    return torch.cat([parameter.reshape(-1) for parameter in given])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Any]) -> None:
    """Give `parameters` the values of a vector, one after the other. They share its memory afterwards.   vec (n,)"""
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters(vec): expected a tensor of one dimension, got {describe(vec)}")
    given = list(parameters)
    _refuse_devices(given)
    values, sizes = plain(vec), [parameter.numel() for parameter in given]
    if values.dim() != 1 or values.numel() < sum(sizes):
        raise ValueError(
            f"vector_to_parameters(vec): expected a vector of the parameters' {sum(sizes)} values, got {describe(vec)}"
        )
    for parameter, part in zip(given, values[: sum(sizes)].split(sizes), strict=True):
        parameter.data = part.view(parameter.shape)


def _refuse_devices(parameters: list[Any]) -> None:
    devices = {str(parameter.device) for parameter in parameters}
    if len(devices) > 1:
        raise TypeError(f"the parameters are on several devices ({', '.join(sorted(devices))}): expected one")
