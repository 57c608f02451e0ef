"""A training step with Adam as a function (state, batch) -> (state, loss), as a user writes it with PyTorch.

The state is a flat list of tensors: the parameters, the buffers, two moments of each parameter, the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value

LR, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8
Gradients = Callable[[Callable[..., Any], dict[str, Tensor]], tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]]


class Step(torch.nn.Module):
    """forward(*state, x, y) -> (*new state, loss).   gradients: how they are found.

    numbers: eps, lr and betas, as Python numbers or, for a recipe that must avoid these, as tensors.
    """

    def __init__(self, model: Any, gradients: Gradients, numbers: Sequence[Any] = (EPS, LR, *BETAS)) -> None:
        super().__init__()
        self.inner = [model]  # not a submodule: its tensors are arguments
        self.gradients = gradients
        self.parameters_of = [name for name, _ in model.named_parameters()]
        self.buffers_of = [name for name, _ in model.named_buffers()]
        self.numbers = numbers

    def initial(self) -> list[Tensor]:
        parameters = [p.detach().clone() for p in self.inner[0].parameters()]
        buffers = [b.clone() for b in self.inner[0].buffers()]
        return [*parameters, *buffers, *map(torch.zeros_like, parameters * 2), torch.zeros(())]

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        *state, count, x, y = arguments
        size, of_buffers = len(self.parameters_of), len(self.buffers_of)
        parameters = dict(zip(self.parameters_of, state, strict=False))
        buffers = dict(zip(self.buffers_of, state[size:], strict=False))
        means, squares = state[size + of_buffers : -size], state[-size:]

        def loss_of(parameters: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            inside = {name: value.clone() for name, value in buffers.items()}
            scores = functional_call(self.inner[0], {**parameters, **inside}, (x,))
            return torch.nn.functional.cross_entropy(scores, y), inside

        found, loss, after = self.gradients(loss_of, parameters)
        eps, lr, beta1, beta2 = self.numbers
        count = count + 1
        new: list[list[Tensor]] = [[], [], []]
        for (name, parameter), before, squared in zip(parameters.items(), means, squares, strict=True):
            mean = beta1 * before + (1 - beta1) * found[name]
            square = beta2 * squared + (1 - beta2) * found[name] * found[name]
            corrected = (square / (1 - beta2**count)).sqrt() + eps
            new[0].append(parameter - lr * (mean / (1 - beta1**count)) / corrected)
            new[1].append(mean)
            new[2].append(square)
        return (*new[0], *after.values(), *new[1], *new[2], count, loss)


def by_autograd(loss_of: Any, parameters: dict[str, Tensor]) -> Any:
    """torch.autograd.grad within the function."""
    with torch.enable_grad():
        leaves = {name: p.detach().requires_grad_() for name, p in parameters.items()}
        loss, after = loss_of(leaves)
        found = torch.autograd.grad(loss, list(leaves.values()))
    return dict(zip(leaves, found, strict=True)), loss.detach(), {k: v.detach() for k, v in after.items()}


def by_func(loss_of: Any, parameters: dict[str, Tensor]) -> Any:
    """torch.func.grad_and_value."""
    found, (loss, after) = grad_and_value(loss_of, has_aux=True)(parameters)
    return found, loss, after


def truth(model: Any, batch: tuple[Tensor, Tensor], steps: int) -> tuple[dict[str, Tensor], list[float]]:
    """The parameters after so many steps of PyTorch's own loop, and the losses. Changes the model."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, betas=BETAS, eps=EPS)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {name: p.detach() for name, p in model.named_parameters()}, losses
