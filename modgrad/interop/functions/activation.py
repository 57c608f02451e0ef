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
from modgrad.interop.functions.table import of_layer

_F: Any = F

for _layer, _function in {
    nn.CELU: F.celu,
    nn.ELU: F.elu,
    nn.GLU: F.glu,
    nn.Hardsigmoid: F.hardsigmoid,
    nn.Hardswish: F.hardswish,
    nn.LeakyReLU: F.leaky_relu,
    nn.Mish: F.mish,
    nn.ReLU: F.relu,
    nn.ReLU6: F.relu6,
    nn.RReLU: F.rrelu,
    nn.SELU: F.selu,
    nn.Sigmoid: F.sigmoid,
    nn.SiLU: F.silu,
    nn.Softsign: F.softsign,
    nn.Tanh: F.tanh,
    nn.Tanhshrink: F.tanhshrink,
    nn.Threshold: F.threshold,
}.items():
    of_layer(_layer, _function)

of_layer(nn.GELU, F.gelu, like="input approximate")
of_layer(nn.LogSigmoid, _F.logsigmoid, like="input")
of_layer(nn.Softplus, _F.softplus, like="input beta threshold")
of_layer(nn.Softshrink, _F.softshrink, like="input lambd")


@operator(F.hardtanh)
def _hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    if min_val > max_val:
        raise ValueError(f"hardtanh(min_val={min_val}, max_val={max_val}): expected the lower one first")
    made = nn.Hardtanh(inplace=inplace)
    made.min_val, made.max_val = min_val, max_val  # which may be equal here, and not in the layer, as in PyTorch
    return made(out_of_place("hardtanh", inplace, input))


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
