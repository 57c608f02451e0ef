"""Steps that are compiled: PyTorch's by torch.compile in two ways, modgrad's by TrainingStep."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value

import modgrad.nn
import modgrad.optim
from benchmarks.harness import Step
from benchmarks.training import Kept, Task, back_to_start, data, inputs_for, later, names, parts, start

Named = dict[str, Tensor]
Rule = Callable[[Tensor, Tensor, list[Tensor], Tensor], None]


def mode(task: Task) -> str | None:
    """For torch.compile: with CUDA graphs where there is CUDA."""
    return "reduce-overhead" if task.device == "cuda" else None


def by_parts(task: Task, **setting: Any) -> tuple[Step, Callable[[], None]]:
    """PyTorch: model and criterion as one compiled function, autograd's backward of it, the optimizer compiled."""
    model, criterion, optimizer = parts(torch.nn, torch.optim, task, **setting)
    inputs, targets = inputs_for(task, setting.get("channels_last", False))
    loss_of = torch.compile(lambda x, y: criterion(model(x), y), mode=mode(task))
    update = torch.compile(optimizer.step, mode=mode(task))

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(inputs, targets)
        loss.backward()
        update()
        return loss

    return step, partial(back_to_start, task, model, optimizer)


def whole(task: Task, channels_last: bool = False, cpp_wrapper: bool = False) -> Step:
    """PyTorch: forward, torch.func's gradient and the update as one compiled function of plain tensors."""
    inputs, targets = inputs_for(task, channels_last)
    form = torch.channels_last if channels_last else torch.preserve_format
    step = _whole(task, cpp_wrapper)

    def copies(of: list[str]) -> Named:
        given = {name: start(task)[name] for name in of}
        return {k: v.clone(memory_format=form if v.dim() == 4 else torch.preserve_format) for k, v in given.items()}

    params, buffers = map(copies, names(task))
    moments = {k: [torch.zeros_like(v) for _ in range(moments_of(task))] for k, v in params.items()}
    count = torch.zeros((), device=task.device)
    return lambda: step(params, buffers, moments, count, inputs, targets)


@cache
def _whole(task: Task, cpp_wrapper: bool) -> Callable[..., Tensor]:
    """The compiled step, which changes its arguments in place."""
    model = task.model(torch.nn).to(task.device)
    criterion = task.criterion(torch.nn, model)
    rule: Rule = partial(RULES[task.rule], **dict(task.hyper))

    def loss_of(params: Named, buffers: Named, x: Tensor, y: Tensor) -> tuple[Tensor, Named]:
        buffers = {name: value.clone() for name, value in buffers.items()}
        return criterion(functional_call(model, {**params, **buffers}, (x,)), y), buffers

    def step(
        params: Named, buffers: Named, moments: dict[str, list[Tensor]], count: Tensor, x: Tensor, y: Tensor
    ) -> Tensor:
        grads, (loss, after) = grad_and_value(loss_of, has_aux=True)(params, buffers, x, y)
        count += 1
        for name, grad in grads.items():
            rule(params[name], grad, moments[name], count)
        for name, value in after.items():
            buffers[name].copy_(value)
        return loss

    options = {"cpp_wrapper": True} if cpp_wrapper else None
    return torch.compile(step, mode=None if options else mode(task), options=options, fullgraph=True)


def sgd(param: Tensor, grad: Tensor, moments: list[Tensor], count: Tensor, lr: float, momentum: float = 0.0) -> None:
    """b = momentum b + g, p = p - lr b, in place."""
    if momentum:
        grad = moments[0].mul_(momentum).add_(grad)
    param.sub_(lr * grad)


def adam(
    param: Tensor,
    grad: Tensor,
    moments: list[Tensor],
    count: Tensor,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> None:
    """Adam of Kingma & Ba 2015, as PyTorch computes it, in place."""
    mean, square = moments
    mean.lerp_(grad, 1 - betas[0])
    square.mul_(betas[1]).add_(grad * grad * (1 - betas[1]))
    denominator = square.sqrt() / (1 - betas[1] ** count).sqrt() + eps
    param.sub_(lr / (1 - betas[0] ** count) * mean / denominator)


RULES: dict[str, Callable[..., None]] = {"SGD": sgd, "Adam": adam}


def moments_of(task: Task) -> int:
    """How many tensors of each parameter's shape the update keeps."""
    return 2 if task.rule == "Adam" else int("momentum" in dict(task.hyper))


def by_modgrad(task: Task, steps: int = 1, channels_last: bool = False) -> tuple[Step, Callable[[], None]]:
    """modgrad: the TrainingStep, compiled, of so many steps a call."""
    model, criterion, optimizer = parts(modgrad.nn, modgrad.optim, task, channels_last)
    compiled = later("modgrad.step", "TrainingStep", model, criterion, optimizer).compile(steps=steps)
    inputs, targets = data(task, steps)
    return lambda: compiled(inputs, targets), partial(back_to_start, task, model, optimizer)


def kept(build: Callable[..., tuple[Step, Callable[[], None]]], *arguments: Any, **setting: Any) -> Kept:
    return Kept(partial(build, *arguments, **setting))
