"""The step of a multilayer perceptron written out by hand in tensor operations.

It is what modgrad's eager step would come to if recording and walking the graph cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness import Step
from benchmarks.training import Task, data, start

aten = torch.ops.aten


def by_hand(task: Task) -> Step:
    """The step as ATen's kernels in a row: nothing is recorded, looked up or checked."""
    inputs, targets = data(task)
    params = [value.clone() for value in start(task).values()]
    weights, biases = params[::2], params[1::2]
    last = len(weights) - 1
    update = RULES[task.rule](params, **dict(task.hyper))
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
