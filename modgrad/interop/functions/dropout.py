"""`torch.nn.functional` on Variables: dropout."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from modgrad import nn
from modgrad.graph.dispatch import operator
from modgrad.interop.functions.in_place import out_of_place


def _drops(name: str, layer: Any, by_default: bool) -> Any:
    """by_default: whether it drops where nothing is said about training."""

    def run(input: Any, p: float = 0.5, training: bool = by_default, inplace: bool = False) -> Any:
        return layer(p).train(training)(out_of_place(name, inplace, input))

    return run


for _name, _layer, _by_default in [
    ("dropout", nn.Dropout, True),
    ("dropout1d", nn.Dropout1d, True),
    ("dropout2d", nn.Dropout2d, True),
    ("dropout3d", nn.Dropout3d, True),
    ("alpha_dropout", nn.AlphaDropout, False),
    ("feature_alpha_dropout", nn.FeatureAlphaDropout, False),
]:
    operator(getattr(F, _name))(_drops(_name, _layer, _by_default))
