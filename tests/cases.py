"""The table that the contract is held over: a row for each primitive. A new layer adds one row here.

Each row says how to make the thing in modgrad, how to make its twin in PyTorch, and inputs to try both on; the first
inputs are the ones that the graph's cases use. Parameters and buffers are copied from one to the other by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modgrad import nn

Inputs = tuple[Tensor, ...]
twin = torch.nn


class Function(nn.Module):
    """An operator as a module: what it does to Variables is what `function` says."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class TorchFunction(torch.nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class FlatLSTM(nn.LSTM):
    """Takes and gives its tensors in one row, as the contract's tests do."""

    def forward(self, input: Any, *hx: Any) -> Any:
        output, last = super().forward(input, hx or None)
        return output, *last


class TorchFlatLSTM(torch.nn.LSTM):
    def forward(self, input: Any, *hx: Any) -> Any:
        output, last = super().forward(input, hx or None)
        return output, *last


class TorchLinearCrossEntropy(torch.nn.Module):
    """PyTorch's LinearCrossEntropyLoss, which there is since PyTorch 2.13, by what it stands for."""

    def __init__(self, in_features: int, num_classes: int, bias: bool = False, **options: Any) -> None:
        super().__init__()
        options.pop("options", None)
        self.linear = torch.nn.Linear(in_features, num_classes, bias=bias)
        self.criterion = torch.nn.CrossEntropyLoss(**{k: v for k, v in options.items() if k != "weight"})
        self.register_buffer("weight", options.get("weight"))

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        self.criterion.weight = self.weight
        return self.criterion(self.linear(input), target)


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], nn.Module]
    make_twin: Callable[[], torch.nn.Module]
    inputs: list[Callable[[], Inputs]]
    primitives: tuple[str, ...]  # the primitives that it holds to the contract, by class
    empty: Callable[[], Inputs] | None = None
    training: bool = True
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)  # beside float64
    smooth: bool = True  # whether central differences can be taken
    is_derivative: bool = True  # False where what backward gives is meant to be something else
    saves: bool = True  # whether something is saved for backward

    def __str__(self) -> str:
        return self.name


def normal(*shapes: tuple[int, ...]) -> Callable[[], Inputs]:
    """Values of a normal distribution, away from nothing: what most functions take."""
    return lambda: tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes)


def positive(*shapes: tuple[int, ...]) -> Callable[[], Inputs]:
    """Values from 0.5 to 2, for logarithms, roots and divisors."""
    return lambda: tuple(torch.rand(shape, dtype=torch.float64) * 1.5 + 0.5 for shape in shapes)


def distinct(*shapes: tuple[int, ...]) -> Callable[[], Inputs]:
    """Values that are all different by far, so that a maximum is no tie, and exact in bfloat16."""
    return lambda: tuple(
        torch.randperm(torch.Size(shape).numel()).reshape(shape).to(torch.float64) / 8 - 1 for shape in shapes
    )


def scores_and_classes(shape: tuple[int, ...], ignored: bool = False) -> Callable[[], Inputs]:
    def make() -> Inputs:
        target = torch.randint(0, shape[1], (shape[0], *shape[2:])) if len(shape) > 1 else torch.tensor(shape[0] - 1)
        if ignored:
            target.view(-1)[0] = -100
        return torch.randn(shape, dtype=torch.float64), target

    return make


def scores_and_probabilities(shape: tuple[int, ...]) -> Callable[[], Inputs]:
    dim = 1 if len(shape) > 1 else 0
    return lambda: (
        torch.randn(shape, dtype=torch.float64),
        torch.randn(shape, dtype=torch.float64).softmax(dim),
    )


def with_indices(shape: tuple[int, ...], *indices: list[int]) -> Callable[[], Inputs]:
    return lambda: (torch.randn(shape, dtype=torch.float64), *map(torch.tensor, indices))


def numbers(below: int, *shapes: tuple[int, ...], dtype: torch.dtype = torch.int64) -> Callable[[], Inputs]:
    """Integers from 0 to below - 1, as an index."""
    return lambda: tuple(torch.randint(0, below, shape, dtype=dtype) for shape in shapes)


def rows(indices: list[Any]) -> Callable[[], Inputs]:
    """These very indices."""
    return lambda: (torch.tensor(indices),)


def layer(name: str, *inputs: Callable[[], Inputs], label: str = "", args: tuple[Any, ...] = (), **rest: Any) -> Case:
    """A layer with a twin of the same name and arguments."""
    row = {key: rest.pop(key) for key in ("empty", "training", "dtypes", "is_derivative", "saves") if key in rest}
    return Case(
        name=f"{name}{'-' if label else ''}{label}",
        make=lambda: getattr(nn, name)(*args, **rest),
        make_twin=lambda: getattr(twin, name)(*args, **rest),
        inputs=list(inputs),
        primitives=(name,),
        **row,
    )


def recurrent(label: str, *inputs: Callable[[], Inputs], args: tuple[int, ...], **rest: Any) -> Case:
    row = {key: rest.pop(key) for key in ("empty",) if key in rest}
    return Case(
        name=f"LSTM-{label}",
        make=lambda: FlatLSTM(*args, **rest),
        make_twin=lambda: TorchFlatLSTM(*args, **rest),
        inputs=list(inputs),
        primitives=("LSTMDirection",),
        dtypes=(torch.float32,),  # of bfloat16 test_recurrent tells
        **row,
    )


def operator(
    name: str, function: Callable[..., Any], *inputs: Callable[[], Inputs], uses: str | tuple[str, ...], **row: Any
) -> Case:
    """A function of tensors, applied to Variables and to PyTorch's tensors alike."""
    return Case(
        name=name,
        make=lambda: Function(function),
        make_twin=lambda: TorchFunction(function),
        inputs=list(inputs),
        primitives=(uses,) if isinstance(uses, str) else uses,
        **row,
    )


def attention(**options: Any) -> Callable[..., Any]:
    """PyTorch's own function, which stands for modgrad's where a Variable comes."""
    return lambda q, k, v, mask=None: torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, **options)


def attended(
    query: tuple[int, ...], key: tuple[int, ...], mask: tuple[int, ...] = (), width: int | None = None
) -> Callable[[], Inputs]:
    """Query, key, value (of another width, if given) and a boolean mask, of which each query sees the first key."""

    def make() -> Inputs:
        value = (*key[:-1], width or key[-1])
        tensors = normal(query, key, value)()
        if not mask:
            return tensors
        visible = torch.rand(mask) > 0.4
        visible[..., 0] = True
        return *tensors, visible

    return make


def features_and(targets: Callable[[], Inputs], features: int) -> Callable[[], Inputs]:
    """What a linear map would make the scores of `targets` from."""

    def make() -> Inputs:
        scores, target = targets()
        return torch.randn(*scores.shape[:-1], features, dtype=torch.float64), target

    return make


def linear_cross_entropy(
    *inputs: Callable[[], Inputs], label: str = "", empty: Callable[[], Inputs] | None = None, **options: Any
) -> Case:
    return Case(
        name=f"LinearCrossEntropyLoss{'-' if label else ''}{label}",
        make=lambda: nn.LinearCrossEntropyLoss(4, 3, **options),
        make_twin=lambda: TorchLinearCrossEntropy(4, 3, **options),
        inputs=[features_and(make, 4) for make in inputs],
        primitives=("LinearCrossEntropy",),
        empty=None if empty is None else features_and(empty, 4),
        dtypes=(torch.float32,),  # in bfloat16 it rounds less often than PyTorch's two layers do
    )


PER_CLASS = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)

CASES = [
    layer("Linear", normal((5, 4)), normal((4,)), normal((2, 3, 4)), args=(4, 3), empty=normal((0, 4))),
    layer("Linear", normal((5, 4)), label="no bias", args=(4, 3), bias=False),
    layer("ReLU", normal((5, 4)), normal(()), normal((2, 3, 4)), empty=normal((0, 4))),
    layer("Tanh", normal((5, 4)), normal(()), empty=normal((0, 4))),
    layer("Sigmoid", normal((5, 4)), normal(()), empty=normal((0, 4))),
    layer("GELU", normal((5, 4)), normal(()), empty=normal((0, 4))),
    layer("GELU", normal((5, 4)), normal(()), label="tanh", approximate="tanh", empty=normal((0, 4))),
    layer("Softmax", normal((5, 4)), normal((3,)), normal((2, 3, 4)), args=(-1,), empty=normal((0, 4))),
    layer("Softmax", normal((2, 3, 4)), label="dim 1", args=(1,)),
    layer("LogSoftmax", normal((5, 4)), normal((3,)), normal((2, 3, 4)), args=(-1,), empty=normal((0, 4))),
    layer("MSELoss", normal((5, 4), (5, 4)), normal((), ())),
    layer("MSELoss", normal((5, 4), (5, 4)), label="sum", reduction="sum", empty=normal((0, 4), (0, 4))),
    layer("MSELoss", normal((5, 4), (5, 4)), label="none", reduction="none"),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3)),
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((4,)),
        scores_and_classes((2, 3, 4)),
        scores_and_classes((2, 3, 4, 5), ignored=True),
        scores_and_probabilities((5, 3)),
        scores_and_probabilities((3,)),
        scores_and_probabilities((2, 3, 4)),
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((2, 3, 4, 5)),
        scores_and_probabilities((5, 3)),
        scores_and_classes((4,)),
        label="sum",
        reduction="sum",
        empty=scores_and_classes((0, 3)),
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((2, 3, 4)),
        scores_and_probabilities((5, 3)),
        scores_and_probabilities((3,)),
        scores_and_classes((4,)),
        label="none",
        reduction="none",
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_classes((2, 3, 4)),
        scores_and_classes((2, 3, 4, 5)),
        scores_and_probabilities((5, 3)),
        label="weight",
        weight=PER_CLASS,
        dtypes=(torch.float32,),
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((5, 3), ignored=True),
        scores_and_probabilities((2, 3, 4)),
        label="smoothing",
        weight=PER_CLASS,
        label_smoothing=0.2,
        dtypes=(torch.float32,),
    ),
    layer(
        "CrossEntropyLoss",
        scores_and_classes((9, 3)),
        label="class 1 ignored",
        label_smoothing=0.1,
        ignore_index=1,
        dtypes=(torch.float32,),
    ),
    linear_cross_entropy(
        scores_and_classes((5, 3)),
        scores_and_classes((5, 3), ignored=True),
        scores_and_probabilities((5, 3)),
        scores_and_classes((3,)),
        scores_and_probabilities((3,)),
    ),
    linear_cross_entropy(
        scores_and_classes((5, 3), ignored=True),
        scores_and_probabilities((5, 3)),
        label="chunks, sum",
        reduction="sum",
        bias=True,
        options=2,
        empty=scores_and_classes((0, 3)),
    ),
    linear_cross_entropy(
        scores_and_classes((5, 3), ignored=True),
        scores_and_probabilities((5, 3)),
        scores_and_classes((3,)),
        label="chunks, none",
        reduction="none",
        bias=True,
        options=2,
    ),
    *(
        linear_cross_entropy(
            scores_and_classes((5, 3), ignored=True),
            scores_and_probabilities((5, 3)),
            label=f"weight, smoothing, {reduction}",
            reduction=reduction,
            weight=PER_CLASS,
            label_smoothing=0.2,
            options=2,
        )
        for reduction in ("mean", "sum", "none")
    ),
    linear_cross_entropy(scores_and_classes((9, 3)), label="class 1 ignored", ignore_index=1, weight=PER_CLASS),
    layer("Conv2d", normal((2, 4, 6, 5)), normal((4, 6, 5)), args=(4, 3, 3), empty=normal((0, 4, 6, 5))),
    layer(
        "Conv2d", normal((2, 4, 7, 6)), label="strided", args=(4, 6, (3, 2)), stride=(2, 3), padding=(1, 2), groups=2
    ),
    layer("Conv2d", normal((2, 2, 9, 8)), label="dilated", args=(2, 3, 3), dilation=(2, 1), stride=(3, 2), bias=False),
    layer("Conv2d", normal((2, 3, 6, 5)), normal((3, 6, 5)), label="same", args=(3, 2, (4, 3)), padding="same"),
    layer("Conv2d", normal((2, 3, 10, 9)), label="1x1 strided", args=(3, 2, 1), stride=4),
    layer("Conv2d", normal((2, 4, 5, 5)), label="depthwise", args=(4, 8, 3), groups=4, padding=1),
    layer("BatchNorm2d", normal((4, 3, 2, 5)), normal((2, 3, 1, 1)), args=(3,)),
    layer("BatchNorm2d", normal((4, 3, 2, 5)), label="eval", args=(3,), training=False, empty=normal((0, 3, 2, 5))),
    *(
        [layer("BatchNorm2d", normal((4, 3, 2, 5)), label="no bias", args=(3,), bias=False)]
        if "bias" in inspect.signature(twin.BatchNorm2d).parameters  # since PyTorch 2.13
        else []
    ),
    layer("BatchNorm2d", normal((4, 3, 2, 5)), label="not affine", args=(3,), affine=False, momentum=None),
    layer("BatchNorm2d", normal((4, 3, 2, 5)), label="untracked", args=(3,), track_running_stats=False, training=False),
    layer("LayerNorm", normal((5, 4)), normal((4,)), normal((2, 3, 4)), args=(4,), empty=normal((0, 4))),
    layer("LayerNorm", normal((2, 3, 4)), normal((3, 4)), label="two dims", args=((3, 4),), bias=False),
    layer("LayerNorm", normal((2, 5)), label="not affine", args=([5], 0.1), elementwise_affine=False),
    layer("Dropout", normal((5, 4)), normal(()), normal((2, 3, 4)), empty=normal((0, 4))),
    layer("Dropout", normal((5, 4)), label="rare", args=(0.1,)),
    layer("Dropout", normal((5, 4)), label="all", args=(1.0,)),
    layer(
        "Embedding",
        numbers(4, (5,)),
        numbers(4, ()),
        numbers(4, (2, 3), dtype=torch.int32),
        numbers(4, (2, 1, 3)),
        args=(4, 3),
        empty=numbers(4, (0, 2)),
    ),
    layer("Embedding", rows([0, 2, 2, 1]), label="padding", args=(4, 3, -2), is_derivative=False),
    layer(
        "Embedding",
        rows([[0, 2, 2], [2, 1, 0]]),
        label="by frequency",
        args=(4, 3),
        scale_grad_by_freq=True,
        is_derivative=False,
    ),
    layer("MaxPool2d", distinct((2, 3, 6, 5)), distinct((3, 6, 5)), args=(2,)),
    layer("MaxPool2d", distinct((2, 3, 7, 8)), label="overlapping", args=((3, 2),), stride=(2, 1), padding=(1, 0)),
    layer("MaxPool2d", distinct((2, 3, 8, 7)), label="dilated", args=(2, 3), dilation=2, ceil_mode=True),
    layer("MaxPool2d", distinct((2, 3, 6, 5)), label="indices", args=(2,), return_indices=True),
    layer("AdaptiveAvgPool2d", normal((2, 3, 6, 5)), normal((3, 6, 5)), args=(1,), saves=False),
    layer("AdaptiveAvgPool2d", normal((2, 3, 7, 5)), label="uneven", args=((3, None),), saves=False),
    layer("AdaptiveAvgPool2d", normal((2, 3, 2, 3)), label="larger", args=((4, 5),), saves=False),
    recurrent(
        "one",
        normal((5, 2, 3), (1, 2, 4), (1, 2, 4)),
        normal((5, 2, 3)),
        normal((1, 2, 3)),
        normal((5, 3)),
        normal((5, 3), (1, 4), (1, 4)),
        args=(3, 4),
        empty=normal((5, 0, 3)),
    ),
    recurrent("no bias", normal((2, 5, 3), (1, 2, 4), (1, 2, 4)), args=(3, 4), bias=False, batch_first=True),
    recurrent(
        "two layers both ways",
        normal((2, 4, 3)),
        normal((2, 4, 3), (4, 2, 2), (4, 2, 2)),
        normal((4, 3), (4, 2), (4, 2)),
        args=(3, 2, 2),
        batch_first=True,
        bidirectional=True,
    ),
    operator(
        "add",
        lambda x, y: x + y,
        normal((3, 4), (3, 4)),
        normal((3, 4), (4,)),
        normal((3, 1), (2, 1, 4)),
        uses="Add",
        saves=False,
    ),
    operator("add number", lambda x: torch.add(2 + x, 1.5, alpha=2), normal((3, 4)), uses=("Add",), saves=False),
    operator("sub", lambda x, y: x - y, normal((3, 4), (3, 4)), normal((4,), (3, 4)), uses="Sub", saves=False),
    operator("sub number", lambda x: torch.sub(1 - x, x, alpha=3), normal((3, 4)), uses="Sub", saves=False),
    operator(
        "mul", lambda x, y: x * y, normal((3, 4), (3, 4)), normal((3, 1), (2, 1, 4)), normal((3, 4), ()), uses="Mul"
    ),
    operator("mul number", lambda x: 3 * x * 2.0, normal((3, 4)), uses="Mul", saves=False, empty=normal((0, 4))),
    operator("div", lambda x, y: x / y, positive((3, 4), (3, 4)), positive((3, 1), (4,)), uses="Div"),
    operator("div number", lambda x: 2 / x + x / 3 + x.reciprocal(), positive((3, 4)), uses="Div"),
    operator("neg", lambda x: -x, normal((3, 4)), uses="Neg", saves=False),
    operator("abs", lambda x: x.abs(), normal((3, 4)), uses="Abs"),
    operator("pow", lambda x, y: x**y, positive((3, 4), (3, 4)), positive((3, 1), (4,)), uses="Pow"),
    operator("pow number", lambda x: x**3 + x.square() + x**0 + 2**x, normal((3, 4)), uses="Pow"),
    operator("exp", lambda x: x.exp(), normal((3, 4)), normal(()), uses="Exp"),
    operator("log", lambda x: x.log(), positive((3, 4)), uses="Log"),
    operator("sqrt", lambda x: x.sqrt(), positive((3, 4)), uses="Sqrt"),
    operator(
        "matmul",
        lambda x, y: x @ y,
        normal((3, 4), (4, 5)),
        normal((4,), (4,)),
        normal((3, 4), (4,)),
        normal((4,), (4, 5)),
        normal((2, 3, 4), (4, 5)),
        normal((3, 4), (2, 4, 5)),
        normal((2, 1, 3, 4), (5, 4, 3)),
        normal((2, 3, 4), (4,)),
        normal((4,), (2, 4, 3)),
        uses="MatMul",
        empty=normal((0, 4), (4, 5)),
    ),
    operator(
        "attention",
        attention(),
        normal((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)),
        normal((3, 5, 4), (3, 7, 4), (3, 7, 4)),
        normal((5, 4), (7, 4), (7, 4)),
        normal((1, 2, 3, 5, 4), (1, 2, 3, 7, 4), (1, 2, 3, 7, 4)),
        normal((2, 3, 5, 4), (1, 3, 7, 4), (3, 7, 4)),
        attended((2, 3, 5, 4), (2, 3, 7, 4), width=6),
        attended((2, 3, 5, 4), (2, 3, 7, 4), mask=(5, 7)),
        attended((2, 3, 5, 4), (2, 3, 7, 4), mask=(2, 1, 1, 7)),
        attended((2, 3, 5, 4), (2, 3, 7, 4), mask=(3, 5, 7), width=6),
        attended((3, 5, 4), (3, 7, 4), mask=(3, 5, 7)),
        uses="ScaledDotProductAttention",
        empty=normal((0, 3, 5, 4), (0, 3, 7, 4), (0, 3, 7, 4)),
    ),
    operator(
        "attention causal",
        attention(is_causal=True, scale=0.3),
        normal((2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4)),
        normal((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)),
        normal((2, 3, 7, 4), (2, 3, 5, 4), (2, 3, 5, 4)),
        normal((3, 5, 4), (3, 5, 4), (3, 5, 4)),
        attended((2, 3, 5, 4), (2, 3, 5, 4), width=6),
        attended((2, 3, 5, 4), (2, 3, 5, 4), mask=(5, 5)),
        uses="ScaledDotProductAttention",
    ),
    operator(
        "attention grouped",
        attention(enable_gqa=True),
        normal((2, 6, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)),
        normal((2, 6, 5, 4), (2, 1, 7, 4), (2, 1, 7, 4)),
        attended((2, 6, 5, 4), (2, 3, 7, 4), width=6),
        uses="ScaledDotProductAttention",
        dtypes=(torch.float32,),  # of bfloat16 test_attention tells
    ),
    operator(
        "attention biased",
        attention(),
        normal((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4), (3, 5, 7)),
        normal((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4), (2, 1, 5, 1)),
        normal((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4), (1, 7)),
        uses="ScaledDotProductAttention",
        dtypes=(torch.float32,),
    ),
    operator("sum", lambda x: x.sum(), normal((3, 4)), normal(()), uses="Sum", saves=False, empty=normal((0, 4))),
    operator(
        "sum dims", lambda x: x.sum((0, -1)) + x.sum(1, keepdim=True).sum(), normal((2, 3, 4)), uses="Sum", saves=False
    ),
    operator("mean", lambda x: x.mean(), normal((3, 4)), normal(()), uses="Mean", saves=False),
    operator("mean dims", lambda x: x.mean(-1, keepdim=True) * x.mean(0), normal((3, 4)), uses="Mean"),
    operator(
        "reshape",
        lambda x: x.view(2, -1).reshape((6, 2)).unsqueeze(1).squeeze(1).flatten(),
        normal((3, 4)),
        uses="Reshape",
        saves=False,
    ),
    operator(
        "permute", lambda x: x.permute(2, 0, 1).transpose(0, -1).mT, normal((2, 3, 4)), uses="Permute", saves=False
    ),
    operator("transpose", lambda x: x.T @ x.t().T, normal((3, 4)), uses=("Permute", "MatMul")),
    operator("expand", lambda x: x.expand(2, -1, 4), normal((3, 1)), uses="Expand", saves=False),
    operator(
        "cat",
        lambda x, y: torch.cat([x, y, x], 1),
        normal((3, 2), (3, 1)),
        normal((3, 2), (3, 0)),
        uses="Cat",
        saves=False,
    ),
    operator("stack", lambda x, y: torch.stack([x, y], -1), normal((3, 2), (3, 2)), uses="Stack", saves=False),
    operator("slice", lambda x: x[1:, ::2, None], normal((3, 4)), uses="Select", saves=False),
    operator("index", lambda x, i: x[i] + x[0, ..., 1], with_indices((3, 4), [0, 2, 2, 1]), uses="Select"),
    operator("index pair", lambda x, i, j: x[i, j], with_indices((3, 4), [0, 2, 2], [1, 3, 3]), uses="Select"),
    operator("mask", lambda x: x[[True, False, True]], normal((3, 4)), uses="Select", saves=False),
    operator("split", lambda x: x.split([1, 3], 1), normal((3, 4)), uses="Split", saves=False),
    operator("chunk", lambda x: torch.chunk(x, 3, 0), normal((5, 4)), uses="Split", saves=False),
    operator("unbind", lambda x: x.unbind(1), normal((3, 2)), uses=("Split", "Reshape"), saves=False),
    operator("clone", lambda x: x.clone().contiguous(), normal((3, 4)), uses="Copy", saves=False),
    operator(
        "to", lambda x: x.float().to(torch.float64), normal((3, 4)), uses="Copy", dtypes=(), smooth=False, saves=False
    ),
]
