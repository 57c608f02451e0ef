"""`torch.nn.functional` on Variables: normalization.

Weight and bias may be Parameters, which the layer then has as its own, or Variables, that its output is multiplied by.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.call import is_parameter
from modgrad.graph.dispatch import operator
from modgrad.interop.functions.table import of_layer
from modgrad.nn.normalization.base import Normalization
from modgrad.nn.normalization.running import BatchNorm, InstanceNorm, WithRunningStatistics
from modgrad.nn.operators.normalization import normalize


def _weighed(layer: Normalization, input: Any, weight: Any, bias: Any, shape: Any) -> Any:
    """`layer(input)` with this weight and bias. shape: theirs where they are not the layer's own, to broadcast."""
    if all(x is None or is_parameter(x) for x in (weight, bias)):
        given = {"weight": weight, "bias": bias}
        # Not by assignment: while a step is traced, no tensor is of class Parameter.
        layer.__dict__.update({name: given[name] for name in layer._parameter_names})
        return layer(input)
    output = layer(input)
    dtype = output.dtype  # which a weight or a bias of more digits does not change
    if weight is not None:
        output = output * weight.reshape(shape)
    if bias is not None:
        output = output + bias.reshape(shape)
    return output if output.dtype == dtype else output.to(dtype)


def _channels(input: Any) -> tuple[int, ...]:
    """The shape in which a number for each channel broadcasts over input (N, C, ...)."""
    return (-1, *[1] * (input.dim() - 2))


def _run(layer: WithRunningStatistics, mean: Any, variance: Any) -> WithRunningStatistics:
    """`layer` with these running statistics, which it moves in place."""
    layer.running_mean, layer.running_var = mean, variance
    return layer


@operator(F.batch_norm)
def _batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError("batch_norm(training=False): expected running_mean and running_var, to normalize by")
    layer = BatchNorm(input.shape[1], eps, momentum, affine=False, track_running_stats=False).train(training)
    return _weighed(_run(layer, running_mean, running_var), input, weight, bias, _channels(input))


@operator(F.instance_norm)
def _instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError("instance_norm(use_input_stats=False): expected running_mean and running_var")
    layer = InstanceNorm(input.shape[1], eps, momentum).train(use_input_stats)
    return _weighed(_run(layer, running_mean, running_var), input, weight, bias, _channels(input))


@operator(F.group_norm)
def _group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    layer = nn.GroupNorm(num_groups, input.shape[1], eps, affine=False)
    return _weighed(layer, input, weight, bias, _channels(input))


@operator(F.layer_norm)
def _layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    layer = nn.LayerNorm(normalized_shape, eps, elementwise_affine=False)
    return _weighed(layer, input, weight, bias, layer.normalized_shape)


@operator(F.rms_norm, torch.rms_norm)
def _rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    layer = nn.RMSNorm(normalized_shape, eps, elementwise_affine=False)
    return _weighed(layer, input, weight, None, layer.normalized_shape)


of_layer(nn.LocalResponseNorm, F.local_response_norm)


@operator(F.normalize)
def _normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: None = None) -> Any:
    return normalize(input, p, dim, eps)
