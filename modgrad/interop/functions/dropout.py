"""`torch.nn.functional` on Variables: dropout."""

from __future__ import annotations

import torch.nn.functional as F

from modgrad import nn
from modgrad.interop.functions.table import of_layer

for _layer, _function in {
    nn.Dropout: F.dropout,
    nn.Dropout1d: F.dropout1d,
    nn.Dropout2d: F.dropout2d,
    nn.Dropout3d: F.dropout3d,
    nn.AlphaDropout: F.alpha_dropout,
    nn.FeatureAlphaDropout: F.feature_alpha_dropout,
}.items():
    of_layer(_layer, _function)
