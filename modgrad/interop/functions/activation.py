"""`torch.nn.functional` on Variables: activation. Those that are torch's own functions stand in `nn/operators`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from modgrad import functional, nn
from modgrad.graph.dispatch import operator
from modgrad.graph.mode import mode
from modgrad.interop.functions.in_place import out_of_place

_F: Any = F

# function -> the layer that it is, whose arguments are those of the function, in order, with the same defaults
for _function, _layer in {
    _F.celu: nn.CELU,
    _F.elu: nn.ELU,
    _F.glu: nn.GLU,
    _F.hardsigmoid: nn.Hardsigmoid,
    _F.hardswish: nn.Hardswish,
    _F.leaky_relu: nn.LeakyReLU,
    _F.logsigmoid: nn.LogSigmoid,
    _F.mish: nn.Mish,
    _F.relu: nn.ReLU,
    _F.relu6: nn.ReLU6,
    _F.selu: nn.SELU,
    _F.sigmoid: nn.Sigmoid,
    _F.silu: nn.SiLU,
    _F.softplus: nn.Softplus,
    _F.softshrink: nn.Softshrink,
    _F.softsign: nn.Softsign,
    _F.tanh: nn.Tanh,
    _F.tanhshrink: nn.Tanhshrink,
    _F.threshold: nn.Threshold,
}.items():

    def _of_layer(name: str, layer: Any) -> Callable[..., Any]:
        def run(input: Any, *options: Any, **named: Any) -> Any:
            made = layer(*options, **named)
            return made(out_of_place(name, getattr(made, "inplace", False), input))

        return run

    operator(_function)(_of_layer(_function.__name__.removeprefix("_"), _layer))


@operator(F.hardtanh)
def _hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    return nn.Hardtanh(min_val, max_val)(out_of_place("hardtanh", inplace, input))


@operator(F.rrelu)
def _rrelu(
    input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Any:
    return nn.RReLU(lower, upper).train(training)(out_of_place("rrelu", inplace, input))


@operator(F.gelu)
def _gelu(input: Any, *, approximate: str = "none") -> Any:
    return nn.GELU(approximate)(input)


def _along_dim(layer: Any) -> Callable[..., Any]:
    def run(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Any:
        return layer(dim)(input if dtype is None else input.to(dtype))

    return run


for _function, _layer in {F.softmax: nn.Softmax, F.softmin: nn.Softmin, F.log_softmax: nn.LogSoftmax}.items():
    operator(_function)(_along_dim(_layer))


@operator(F.gumbel_softmax)
def _gumbel_softmax(logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Any:
    if mode.randomness is None:
        noise = functional.gumbel_noise(logits.detach())
    else:
        noise = functional.gumbel_noise_keyed(logits.detach(), functional.random_key(*mode.randomness.draw()))
    soft = nn.Softmax(dim)((logits + noise) / tau)
    if not hard:
        return soft
    values = soft.detach()  # what comes out is one-hot, and its gradient is that of the soft one
    one_hot = torch.zeros_like(values).scatter(dim, values.argmax(dim, keepdim=True), 1.0)
    return one_hot - values + soft
