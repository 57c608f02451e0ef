"""Optimizers with their options, and a course of gradients to try them by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modgrad import nn, optim

# 100 steps of float64: a few roundings each, which the steps neither damp nor grow.
EXACT = {"rtol": 1e-10, "atol": 1e-12}
# Counts that PyTorch keeps in float32, such as NAdam's product of momenta, or eta of ASGD, make rates of its digits.
SINGLE = {"rtol": 1e-7, "atol": 1e-7}

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.01, "momentum": 0.5, "dampening": 0.5, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "amsgrad": True}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "maximize": True, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.0, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.01, "maximize": True, "weight_decay": 0.1}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {"lr": 0.01, "betas": (0.9, 0.6)}),  # never reliable
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.05, "beta2_decay": -0.5, "eps": (1e-3, 1e-2), "d": 1.5, "weight_decay": 0.1}),
    ("Adafactor", {"lr": 1.0, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.5, "centered": True}),
    ("RMSprop", {"momentum": 0.9, "maximize": True}),
    ("RMSprop", {"centered": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2), "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.01, "alpha": 0.5, "t0": 5.0, "weight_decay": 0.1}),
    ("ASGD", {"lr": 0.1, "maximize": True, "t0": 50.0}),
    ("Muon", {}),
    ("Muon", {"lr": 0.01, "weight_decay": 0.0, "momentum": 0.5, "nesterov": False, "eps": 1e-3}),
    ("Muon", {"adjust_lr_fn": "match_rms_adamw", "ns_steps": 3, "ns_coefficients": (3.0, -3.2, 1.2)}),
]


def exact(name: str) -> dict[str, float]:
    """How nearly an optimizer is to be PyTorch's in float64."""
    return SINGLE if name in ("NAdam", "ASGD") else EXACT


def shapes(name: str) -> list[tuple[int, ...]]:
    """Of the parameters to try an optimizer with: all kinds that it takes."""
    if name == "Muon":
        return [(4, 3), (3, 4), (2, 2)]
    if name == "Adafactor":
        return [(4, 3), (5,), (), (2, 3, 4)]
    return [(4, 3), (5,), (), (0, 2)]


def values(name: str, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes(name)]


def mine(name: str, dtype: torch.dtype = torch.float64) -> list[Any]:
    return [nn.Parameter(value) for value in values(name, dtype)]


def theirs(name: str, dtype: torch.dtype = torch.float64) -> list[Any]:
    return [torch.nn.Parameter(value) for value in values(name, dtype)]


def course(
    params: list[Any], optimizer: Any, steps: int, first: int = 0, each: Callable[[], Any] | None = None
) -> None:
    """Steps by gradients that depend on the parameters and on the number of the step. each: called after each step."""
    for number in range(first, first + steps):
        generator = torch.Generator().manual_seed(number)
        for i, param in enumerate(params):
            value = param.data.double()
            noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            param.grad = (value.sin() * (1 + i) + 0.5 * noise).to(param.dtype)
        optimizer.step()
        if each is not None:
            each()


def assert_alike(a: list[Any], b: list[Any], **tolerance: Any) -> None:
    for i, (one, other) in enumerate(zip(a, b, strict=True)):
        torch.testing.assert_close(one.data, other.data, msg=lambda m, i=i: f"parameter {i}: {m}", **tolerance)


def make(library: Any, name: str, params: Any, options: dict[str, Any]) -> Any:
    return getattr(library, name)(params, **options)


def ours(name: str, params: Any, options: dict[str, Any]) -> optim.Optimizer:
    return make(optim, name, params, options)
