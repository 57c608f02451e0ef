"""Rows of the table: activation."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from modgrad import nn
from tests.cases.table import Case, TorchFunction, layer, normal, operator

# Elementwise, without a weight: name, arguments beside the defaults, and how such a row is called.
ELEMENTWISE: list[tuple[str, dict[str, float], str]] = [
    ("ReLU6", {}, ""),
    ("LeakyReLU", {}, ""),
    ("LeakyReLU", {"negative_slope": -0.5}, "negative"),
    ("Threshold", {"threshold": 0.1, "value": -2.0}, ""),
    ("Threshold", {"threshold": 0.1, "value": 20.0}, "above"),
    ("RReLU", {}, ""),
    ("RReLU", {"lower": -0.3, "upper": 0.9}, "wide"),
    ("ELU", {}, ""),
    ("ELU", {"alpha": -0.7}, "negative"),
    ("CELU", {}, ""),
    ("CELU", {"alpha": 2.0}, "alpha"),
    ("SELU", {}, ""),
    ("SiLU", {}, ""),
    ("Mish", {}, ""),
    ("Hardshrink", {}, ""),
    ("Hardshrink", {"lambd": -0.2}, "negative"),
    ("Hardswish", {}, ""),
    ("Hardtanh", {}, ""),
    ("Hardtanh", {"min_val": -0.3, "max_val": 0.6}, "narrow"),
    ("LogSigmoid", {}, ""),
    ("Softplus", {}, ""),
    ("Softplus", {"beta": 2.5, "threshold": 1.5}, "threshold"),
    ("Softshrink", {}, ""),
    ("Softsign", {}, ""),
]

CASES = [
    layer("ReLU", normal((5, 4)), normal(()), normal((2, 3, 4)), empty=normal((0, 4))),
    layer("Tanh", normal((5, 4)), normal(()), empty=normal((0, 4))),
    layer("Sigmoid", normal((5, 4)), normal(()), empty=normal((0, 4))),
    layer("GELU", normal((5, 4)), normal(()), empty=normal((0, 4))),
    layer("GELU", normal((5, 4)), normal(()), label="tanh", approximate="tanh", empty=normal((0, 4))),
    layer("Softmax", normal((5, 4)), normal((3,)), normal((2, 3, 4)), args=(-1,), empty=normal((0, 4))),
    layer("Softmax", normal((2, 3, 4)), label="dim 1", args=(1,)),
    layer("LogSoftmax", normal((5, 4)), normal((3,)), normal((2, 3, 4)), args=(-1,), empty=normal((0, 4))),
    *(
        layer(name, normal((5, 4)), normal(()), normal((2, 3, 4)), label=label, empty=normal((0, 4)), **arguments)
        for name, arguments, label in ELEMENTWISE
    ),
    Case(  # in float64 PyTorch's own derivative is a part in 3e7 too much, and that of this, which is the same, is not
        name="Hardsigmoid",
        make=nn.Hardsigmoid,
        make_twin=lambda: TorchFunction(lambda x: F.relu6(x + 3) / 6),
        inputs=[normal((5, 4)), normal(()), normal((2, 3, 4))],
        primitives=("Hardsigmoid",),
        empty=normal((0, 4)),
    ),
    layer(  # in bfloat16 PyTorch's own derivative, g - g (1 - t^2), has lost what is small
        "Tanhshrink", normal((5, 4)), normal(()), empty=normal((0, 4)), dtypes=(torch.float32,)
    ),
    layer("RReLU", normal((5, 4)), label="evaluation", training=False),
    layer("RReLU", normal((5, 4)), label="falling, evaluation", args=(-0.9, -0.1), training=False),
    layer("PReLU", normal((5, 4)), normal((2, 4, 3)), normal((3,)), normal(()), empty=normal((0, 4))),
    layer("PReLU", normal((5, 4)), normal((2, 4, 3)), normal((2, 4, 3, 2)), label="of channels", args=(4,)),
    operator("prelu", torch.prelu, normal((2, 4, 3), (4,)), normal((5, 4), ()), normal((3,), (1,)), uses="PReLUOf"),
    operator("prelu of one", lambda x: F.prelu(x, torch.tensor([0.3]).to(x)), normal((5, 4)), uses="PReLUOf"),
    operator("prelu of weight", lambda w: F.prelu(torch.ones(5, 4).to(w) - 2, w), normal((4,)), uses="PReLUOf"),
    layer("GLU", normal((5, 4)), normal((4,)), normal((2, 3, 6)), empty=normal((0, 4))),
    layer("GLU", normal((2, 4, 3)), label="dim 1", args=(1,)),
    layer("Softmin", normal((5, 4)), normal((3,)), normal((2, 3, 4)), args=(-1,), empty=normal((0, 4))),
    layer("LogSoftmax", normal((2, 3, 4)), normal((2, 3, 4, 5)), label="dim 1", args=(1,)),
    layer("Softmax2d", normal((2, 3, 4, 5)), normal((3, 4, 5)), empty=normal((0, 3, 4, 5))),
    *(
        operator(f"{function.__name__} of a scalar", lambda x, f=function: f(x, dim=0) * x, normal(()), uses=uses)
        for function, uses in ((F.softmax, "Softmax"), (F.softmin, "Softmin"), (F.log_softmax, "LogSoftmax"))
    ),
]
