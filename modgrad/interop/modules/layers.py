"""A layer's twin: the class of the same name on the other side, made with the arguments that the layer has now."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from modgrad import nn

_GIVEN_UP = ("size_average", "reduce")  # which PyTorch's losses have turned into their reduction


def _bias(module: Any) -> Any:
    own = getattr(module, "bias", None)
    return own if isinstance(own, bool) else own is not None


def _transformer_layer(module: Any) -> dict[str, Any]:
    attention = module.self_attn
    known: dict[Any, str] = {F.relu: "relu", F.gelu: "gelu", nn.transformer.relu: "relu", nn.transformer.gelu: "gelu"}
    activation = module.activation
    return {
        "d_model": attention.embed_dim,
        "nhead": attention.num_heads,
        "dim_feedforward": module.linear1.out_features,
        "dropout": module.dropout.p,
        "activation": known.get(activation, activation) if inspect.isroutine(activation) else "relu",
        "layer_norm_eps": module.norm1.eps,
        "batch_first": attention.batch_first,
        "bias": _bias(module.linear1),
    }


# Arguments that are no attributes of the same name. Modules among them are made anew, and then replaced by their twins.
_SPECIAL: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "AdaptiveLogSoftmaxWithLoss": lambda module, _: {"cutoffs": module.cutoffs[:-1]},
    "LinearCrossEntropyLoss": lambda module, _: {
        "in_features": module.linear.in_features,
        "bias": _bias(module.linear),
    },
    "MultiheadAttention": lambda module, _: {
        "bias": module.in_proj_bias is not None,
        "add_bias_kv": module.bias_k is not None,
    },
    "PairwiseDistance": lambda module, _: {"p": module.norm},
    "Transformer": lambda _, side: {"custom_encoder": side.Identity(), "custom_decoder": side.Identity()},
    "TransformerDecoder": lambda _, side: {"decoder_layer": side.Identity(), "norm": None},
    "TransformerDecoderLayer": lambda module, _: _transformer_layer(module),
    "TransformerEncoder": lambda _, side: {
        "encoder_layer": side.Identity(),
        "norm": None,
        "enable_nested_tensor": False,
    },
    "TransformerEncoderLayer": lambda module, _: _transformer_layer(module),
    "TripletMarginWithDistanceLoss": lambda module, side: {
        "distance_function": side.PairwiseDistance()
        if isinstance(module.distance_function, (nn.Module, torch.nn.Module))
        else module.distance_function
    },
}


def arguments(module: Any, name: str, side: Any) -> dict[str, Any]:
    """What the layer called `name` is to be made with: the attributes of `module` by the constructor's arguments."""
    given: dict[str, Any] = {}
    special = _SPECIAL.get(name, lambda module, side: {})(module, side)
    for argument, parameter in inspect.signature(getattr(nn, name)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if argument in special:
            given[argument] = special[argument]
        elif argument == "device":
            given[argument] = "meta"  # parameters take the places of these
        elif argument == "dtype":
            first = next(module.parameters(), None)
            given[argument] = None if first is None else first.dtype
        elif argument == "bias":
            given[argument] = _bias(module)
        elif not argument.startswith("_") and argument not in _GIVEN_UP:
            if hasattr(module, argument):
                given[argument] = getattr(module, argument)
            elif parameter.default is parameter.empty:
                raise TypeError(f"it has no attribute {argument!r}, which {name} is to be made with")
    return given


def bare(module: Any, name: str, side: Any) -> Any:
    """The layer called `name` of `side` with the arguments that `module` has now; its parameters have no values yet."""
    with torch.random.fork_rng(devices=[]):
        return getattr(side, name)(**arguments(module, name, side))
