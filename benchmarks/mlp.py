"""One training step of a multilayer perceptron: zero_grad, forward, loss, backward, update.

The contestants: modgrad, PyTorch with each setting of its optimizer, and the step written out by hand in tensor
operations, which is what modgrad would come to if recording and walking the graph cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

import modgrad.nn
import modgrad.optim
from benchmarks.harness import Contestant, Step, Workload
from modgrad.helper import generate_dataset

aten = torch.ops.aten


@dataclass(frozen=True)
class Task:
    """sizes: of the layers, input to output. rule: the optimizer's name, in modgrad as in PyTorch."""

    sizes: tuple[int, ...]
    batch: int
    rule: str
    lr: float


@cache
def data(task: Task) -> tuple[Tensor, Tensor]:
    """inputs (batch, sizes[0]) float32, targets (batch) int64: the report's disc, or noise to be learnt by heart."""
    generator = torch.Generator().manual_seed(0)
    if task.sizes[0] == 2:
        return generate_dataset(task.batch, generator)
    inputs = torch.randn(task.batch, task.sizes[0], generator=generator)
    return inputs, torch.randint(task.sizes[-1], (task.batch,), generator=generator)


@cache
def start(task: Task) -> dict[str, Tensor]:
    """The weights that everybody starts from: a state_dict."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {name: value.clone() for name, value in perceptron(torch.nn, task.sizes).state_dict().items()}


def perceptron(nn: Any, sizes: Sequence[int]) -> Any:
    """Linear layers with a ReLU after each but the last. nn: modgrad.nn or torch.nn."""
    layers = [layer for nI, nO in pairwise(sizes) for layer in (nn.Linear(nI, nO), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def by_modgrad(task: Task) -> Step:
    return by_modules(modgrad.nn, modgrad.optim, task)


def by_pytorch(task: Task, **setting: Any) -> Step:
    return by_modules(torch.nn, torch.optim, task, **setting)


def by_modules(nn: Any, optim: Any, task: Task, **setting: Any) -> Step:
    """The step as a user writes it, which is the same for modgrad and PyTorch. setting: of the optimizer."""
    inputs, targets = data(task)
    model = perceptron(nn, task.sizes)
    model.load_state_dict(start(task))
    criterion = nn.CrossEntropyLoss()
    optimizer = getattr(optim, task.rule)(model.parameters(), lr=task.lr, **setting)

    def step() -> Any:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss

    return step


def by_hand(task: Task) -> Step:
    """The step as ATen's kernels in a row: nothing is recorded, looked up or checked."""
    inputs, targets = data(task)
    params = [value.clone() for value in start(task).values()]
    weights, biases = params[::2], params[1::2]
    last = len(weights) - 1
    update = RULES[task.rule](params, task.lr)
    one = torch.ones(())

    def step() -> Tensor:
        x = [inputs]  # what each layer is given
        for weight, bias in zip(weights[:-1], biases, strict=False):
            x.append(torch.relu(torch._C._nn.linear(x[-1], weight, bias)))
        log_p = torch.log_softmax(torch._C._nn.linear(x[-1], weights[-1], biases[-1]), 1)
        loss, count = aten.nll_loss_forward.default(log_p, targets, None, 1, -100)

        grad = aten.nll_loss_backward.default(one, log_p, targets, None, 1, -100, count)
        grad = torch._log_softmax_backward_data(grad, log_p, 1, log_p.dtype)
        grads: list[Tensor] = []  # bias, weight; from the last layer to the first
        for i in range(last, -1, -1):
            grads += grad.sum(0), torch.mm(grad.t(), x[i])
            if i:
                grad = aten.threshold_backward.default(torch.mm(grad, weights[i]), x[i], 0)
        update(grads[::-1])
        return loss

    return step


def sgd(params: list[Tensor], lr: float) -> Callable[[list[Tensor]], None]:
    """p = p - lr g, in place on all parameters at once."""
    return lambda grads: torch._fused_sgd_(
        params,
        grads,
        [],
        lr=lr,
        momentum=0.0,
        dampening=0.0,
        weight_decay=0.0,
        nesterov=False,
        maximize=False,
        is_first_step=False,
    )


def adam(params: list[Tensor], lr: float) -> Callable[[list[Tensor]], None]:
    """Adam with PyTorch's defaults, in place on all parameters at once, which share one count of steps."""
    means, squares = [torch.zeros_like(p) for p in params], [torch.zeros_like(p) for p in params]
    count = torch.zeros(())
    counts = [count] * len(params)

    def update(grads: list[Tensor]) -> None:
        count.add_(1)
        torch._fused_adam_(
            params,
            grads,
            means,
            squares,
            [],
            counts,
            lr=lr,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            weight_decay=0.0,
            amsgrad=False,
            maximize=False,
        )

    return update


RULES = {"SGD": sgd, "Adam": adam}


def workload(name: str, task: Task) -> Workload:
    sizes = "-".join(map(str, task.sizes))
    contestants = [Contestant("modgrad", partial(by_modgrad, task))]
    for words, setting in (("default", {}), ("foreach=True", {"foreach": True}), ("fused=True", {"fused": True})):
        make = partial(by_pytorch, task, **setting)
        contestants.append(Contestant(f"PyTorch, {words}", make, baseline=True))
    contestants.append(Contestant("written by hand", partial(by_hand, task)))
    return Workload(name, f"MLP {sizes}, batch {task.batch}, {task.rule}(lr={task.lr})", contestants)


WORKLOADS = [
    workload("mlp-sgd", Task((2, 25, 25, 25, 2), 100, "SGD", 0.1)),
    workload("mlp-adam", Task((2, 25, 25, 25, 2), 100, "Adam", 0.001)),
    workload("mlp-wide-sgd", Task((784, 512, 512, 10), 128, "SGD", 0.1)),
    workload("mlp-wide-adam", Task((784, 512, 512, 10), 128, "Adam", 0.001)),
]
