"""Every layer beside PyTorch's of the same name, made from the same seed and arguments: the same layer.

The arguments are those of PyTorch's module database, every one of each class, and some for classes that are not in it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import nn
from modgrad.graph import Passing
from tests.test_module_database import ENTRIES, plain_constructor

SHARED = sorted(
    name
    for name, layer in vars(nn).items()
    if isinstance(layer, type)
    and issubclass(layer, nn.Module)
    and isinstance(twin := getattr(torch.nn, name, None), type)
    and issubclass(twin, torch.nn.Module)
)
# Those that are only a base of others, and one that refuses to be made
NOT_MADE = {"Module", "RNNBase", "RNNCellBase", "CrossMapLRN2d"}

Make = Callable[[Any], Any]
OWN: dict[str, list[Make]] = {
    "AdaptiveLogSoftmaxWithLoss": [
        lambda n: n.AdaptiveLogSoftmaxWithLoss(6, 12, [3, 7]),
        lambda n: n.AdaptiveLogSoftmaxWithLoss(6, 12, [4], div_value=2.0, head_bias=True, dtype=torch.float64),
    ],
    "AlphaDropout": [lambda n: n.AlphaDropout(0.2)],
    "ChannelShuffle": [lambda n: n.ChannelShuffle(2)],
    "Conv2d": [lambda n: n.Conv2d(0, 2, 3, bias=False), lambda n: n.Conv2d(4, 6, (2, 3), groups=2)],
    "Container": [lambda n: n.Container(a=n.Linear(2, 3), b=n.ReLU())],
    "CosineSimilarity": [lambda n: n.CosineSimilarity(0, 1e-6)],
    "Dropout": [lambda n: n.Dropout(), lambda n: n.Dropout(0.2, inplace=True)],
    "Dropout1d": [lambda n: n.Dropout1d()],
    "Dropout2d": [lambda n: n.Dropout2d(0.1)],
    "Dropout3d": [lambda n: n.Dropout3d()],
    "Embedding": [
        lambda n: n.Embedding(5, 3, -1, 2.0, 1.0, True),
        lambda n: n.Embedding.from_pretrained(torch.ones(2, 3), padding_idx=0),
    ],
    "EmbeddingBag": [lambda n: n.EmbeddingBag(5, 3, mode="sum", padding_idx=1)],
    "FeatureAlphaDropout": [lambda n: n.FeatureAlphaDropout()],
    "Flatten": [lambda n: n.Flatten(), lambda n: n.Flatten(0, -2)],
    "Fold": [lambda n: n.Fold(4, (2, 3), padding=1)],
    "FractionalMaxPool2d": [lambda n: n.FractionalMaxPool2d(2, output_ratio=0.5)],
    "Hardsigmoid": [lambda n: n.Hardsigmoid()],
    "Identity": [lambda n: n.Identity(3, of="anything")],
    "LayerNorm": [lambda n: n.LayerNorm([2, 3], 1e-3, elementwise_affine=False), lambda n: n.LayerNorm(3, bias=False)],
    "Linear": [lambda n: n.Linear(0, 5), lambda n: n.Linear(7, 5, dtype=torch.bfloat16)],
    "LPPool3d": [lambda n: n.LPPool3d(2, 3)],
    "MaxUnpool1d": [lambda n: n.MaxUnpool1d(2)],
    "MaxUnpool2d": [lambda n: n.MaxUnpool2d((2, 3), stride=1)],
    "MaxUnpool3d": [lambda n: n.MaxUnpool3d(2, padding=1)],
    "ModuleDict": [lambda n: n.ModuleDict({"a": n.Linear(2, 3), "b": n.Flatten()})],
    "ModuleList": [
        lambda n: n.ModuleList(),
        lambda n: n.ModuleList([n.Linear(2, 3), n.ReLU(), n.ReLU(), n.Sequential(n.Tanh()), n.Sequential(n.Tanh())]),
    ],
    "NLLLoss2d": [lambda n: n.NLLLoss2d()],
    "PairwiseDistance": [lambda n: n.PairwiseDistance()],
    "ParameterDict": [
        lambda n: n.ParameterDict({"b": torch.ones(2, 3), "a": n.Parameter(torch.zeros(2).double())}),
        lambda n: n.ParameterDict([("b", torch.ones(1)), ("a", 3)]),
    ],
    "ParameterList": [lambda n: n.ParameterList([torch.ones(2, 3), n.Parameter(torch.zeros(2).half()), "text"])],
    "PixelShuffle": [lambda n: n.PixelShuffle(3)],
    "PixelUnshuffle": [lambda n: n.PixelUnshuffle(2)],
    "RReLU": [lambda n: n.RReLU(0.1, inplace=True)],
    "Sequential": [
        lambda n: n.Sequential(n.Linear(2, 3), n.ReLU(), n.Conv1d(2, 2, 1)),
        lambda n: n.Sequential({"one": n.Linear(2, 3), "two": n.BatchNorm2d(3)}) if n is nn else _named(n),
        lambda n: n.Sequential(n.Linear(2, 3), n.ReLU())[1:] + n.Sequential(n.Linear(3, 1)),
        lambda n: n.Sequential(n.Linear(2, 2), n.ReLU()) * 2,
    ],
    "SyncBatchNorm": [lambda n: n.SyncBatchNorm(3), lambda n: n.SyncBatchNorm(3, affine=False, momentum=None)],
    "TransformerDecoder": [
        lambda n: n.TransformerDecoder(n.TransformerDecoderLayer(4, 2, 8), 2),
        lambda n: n.TransformerDecoder(n.TransformerDecoderLayer(4, 1, 8), 1, n.LayerNorm(4)),
    ],
    "TransformerEncoder": [
        lambda n: n.TransformerEncoder(n.TransformerEncoderLayer(4, 2, 8, batch_first=True), 3, n.LayerNorm(4)),
    ],
    "TripletMarginLoss": [lambda n: n.TripletMarginLoss(0.5, p=1)],
    "TripletMarginWithDistanceLoss": [lambda n: n.TripletMarginWithDistanceLoss(swap=True)],
    "Unflatten": [lambda n: n.Unflatten(1, (2, -1)), lambda n: n.Unflatten(-1, torch.Size([2, 2]))],
    "Unfold": [lambda n: n.Unfold(2, (1, 2))],
    "Upsample": [lambda n: n.Upsample((3, 4)), lambda n: n.Upsample(scale_factor=2, mode="bicubic")],
    "UpsamplingBilinear2d": [lambda n: n.UpsamplingBilinear2d(scale_factor=2)],
    "UpsamplingNearest2d": [lambda n: n.UpsamplingNearest2d(5)],
}


def _named(n: Any) -> Any:
    from collections import OrderedDict

    return n.Sequential(OrderedDict(one=n.Linear(2, 3), two=n.BatchNorm2d(3)))


def rows(name: str) -> Iterator[Make]:
    """Functions that make the layer of this name, of the module that they are given."""
    yield from OWN.get(name, [])
    if name not in ENTRIES:
        return
    info = ENTRIES[name]
    for training in (True, False) if info.train_and_eval_differ else (True,):
        given = {"device": "cpu", "dtype": torch.float64, "requires_grad": False, "training": training}
        for row in info.module_inputs_func(info, **given):

            def make(n: Any, row: Any = row) -> Any:
                args, kwargs = row.constructor_input.args, row.constructor_input.kwargs
                if n is nn:
                    theirs = [x for x in (*args, *kwargs.values()) if isinstance(x, torch.nn.Module)]
                    args, kwargs = plain_constructor(row)
                    mine = [x for x in (*args, *kwargs.values()) if isinstance(x, nn.Module)]
                    for x, twin in zip(mine, theirs, strict=True):  # made before this, with another seed
                        x.load_state_dict(twin.state_dict(), assign=True)
                    torch.manual_seed(3)
                return getattr(n, name)(*args, **kwargs)

            yield make


def assert_same(mine: Any, twin: Any) -> None:
    for members in ("named_parameters", "named_buffers", "state_dict"):
        ours, theirs = (dict(getattr(module, members)()) for module in (mine, twin))
        assert list(ours) == list(theirs), members
        for name, value in theirs.items():
            a, b = ours[name].detach(), value.detach()
            assert (a.shape, a.dtype, a.stride(), a.device) == (b.shape, b.dtype, b.stride(), b.device), name
            assert torch.equal(a, b), name
    assert [p.grad_f for p in mine.parameters()] == [p.requires_grad for p in twin.parameters()]
    for name, value in vars(twin).items():
        if not name.startswith("_") and name not in OWN_AFFAIR:
            assert hasattr(mine, name), name
            if not isinstance(value, (torch.nn.Module, Tensor)):
                assert getattr(mine, name) == value, name


# What tells whether PyTorch's fast path of evaluation may be taken; and a function, which here is another.
OWN_AFFAIR = {"activation_relu_or_gelu", "use_nested_tensor", "activation"}


@pytest.mark.filterwarnings("ignore")  # of PyTorch's modules, about themselves
@pytest.mark.parametrize("name", sorted(set(SHARED) - NOT_MADE))
def test_same_from_the_same_seed(name: str) -> None:
    """Parameters and buffers bit for bit, in order, with their attributes; and as many random numbers drawn."""
    torch.manual_seed(0)
    makers = list(rows(name))
    assert makers, f"nothing is known of how a {name} is made: write it in OWN"
    for make in makers:
        torch.manual_seed(3)
        twin = make(torch.nn)
        drawn = torch.get_rng_state()
        torch.manual_seed(3)
        mine = make(nn)
        assert torch.equal(torch.get_rng_state(), drawn)
        assert_same(mine, twin)
        if not name.endswith("Loss"):  # PyTorch's losses do not show their arguments
            assert repr(mine) == repr(twin).replace("NonDynamicallyQuantizableLinear", "Linear")


def test_a_bias_of_what_sums_over_nothing_is_zero() -> None:
    """PyTorch leaves that of such a convolution as the memory was."""
    assert not nn.Conv2d(0, 3, 2).bias.detach().any()
    assert not nn.ConvTranspose1d(2, 0, 2, bias=True).bias.detach().any()


def arguments(function: Any, skipped: int = 0) -> list[tuple[str, Any]]:
    """Names and defaults, a function by its name, without *args and **kwargs."""
    parameters = list(inspect.signature(function).parameters.values())[skipped:]
    known = [(p.name, p.default) for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [(name, default.__name__ if inspect.isfunction(default) else default) for name, default in known]


@pytest.mark.parametrize("name", sorted(set(SHARED) - NOT_MADE))
def test_arguments_are_pytorchs(name: str) -> None:
    """By name, order and default: a model is ported by changing the import. (What PyTorch adds later is not asked.)"""
    mine, twin = getattr(nn, name), getattr(torch.nn, name)
    known, theirs = arguments(mine), arguments(twin)
    if issubclass(twin, torch.nn.RNNBase):  # whose own signatures say nothing
        recurrent = arguments(torch.nn.RNNBase)[1:]
        theirs = [(n, None if n in ("device", "dtype") else d) for n, d in recurrent]
        known = [(n, d) for n, d in known if n != "nonlinearity"]
        theirs = theirs if name == "LSTM" else [(n, d) for n, d in theirs if n != "proj_size"]
    assert known[: len(theirs)] == theirs
    if mine.forward is nn.Module.forward:
        return
    called = arguments(mine.forward, 1 + issubclass(mine, nn.Primitive))
    if mine.__call__ not in (nn.Module.__call__, nn.Primitive.__call__, Passing.__call__):
        called = arguments(mine.__call__, 1)
    theirs = [("input" if n == "x" else n, d) for n, d in arguments(twin.forward, 1)]  # as one of theirs names it
    assert called[: len(theirs)] == theirs, "of forward"
