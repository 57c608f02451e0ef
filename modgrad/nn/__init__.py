"""Layers, losses and containers, under PyTorch's names; and what writing one's own takes, from `graph`."""

from modgrad.graph import Buffer, Call, Module, Parameter, Primitive, Variable, keep_values, no_grad, recompute
from modgrad.nn import init, operators
from modgrad.nn.activation import GELU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from modgrad.nn.container import ModuleDict, ModuleList, Sequential
from modgrad.nn.convolution import Conv2d
from modgrad.nn.dropout import Dropout
from modgrad.nn.embedding import Embedding
from modgrad.nn.linear import Flatten, Identity, Linear
from modgrad.nn.linear_cross_entropy import LinearCrossEntropyLoss
from modgrad.nn.loss import CrossEntropyLoss, MSELoss
from modgrad.nn.normalization import BatchNorm2d, LayerNorm
from modgrad.nn.pooling import AdaptiveAvgPool2d, MaxPool2d
from modgrad.nn.recurrent import LSTM

__all__ = [
    "GELU",
    "LSTM",
    "AdaptiveAvgPool2d",
    "BatchNorm2d",
    "Buffer",
    "Call",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "Identity",
    "LayerNorm",
    "Linear",
    "LinearCrossEntropyLoss",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "Primitive",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Variable",
    "init",
    "keep_values",
    "no_grad",
    "operators",
    "recompute",
]
