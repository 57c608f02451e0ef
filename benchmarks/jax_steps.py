"""The training step in JAX: one jitted function with donated buffers, or a scan over several steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from benchmarks import jax_models
from benchmarks.compiled import moments_of
from benchmarks.harness import Step
from benchmarks.training import Task, names
from benchmarks.training import data as torch_data
from benchmarks.training import start as torch_start

Tree = Any


@cache
def data(task: Task, steps: int) -> tuple[Array, Array]:
    inputs, targets = torch_data(task, steps)
    return jnp.asarray(inputs.numpy()), jnp.asarray(targets.numpy().astype(np.int32))


@cache
def start(task: Task) -> dict[str, np.ndarray]:
    params, _ = names(task)
    return {name: torch_start(task)[name].numpy() for name in params}


def prepare(task: Task, steps: int) -> None:
    start(task)
    jax.block_until_ready(data(task, steps))


def training(task: Task, model: str, steps: int) -> Step:
    """The step, of `steps` steps a call, of the model with this name in jax_models.py."""
    inputs, targets = data(task, steps)
    step = compiled(task, model, steps)
    params = {name: jnp.array(value, copy=True) for name, value in start(task).items()}
    moments = [jax.tree.map(jnp.zeros_like, params) for _ in range(moments_of(task))]
    state = params, moments, jnp.zeros(())

    def run() -> Array:
        nonlocal state
        state, loss = step(state, inputs, targets)
        return loss

    return run


@cache
def compiled(task: Task, model: str, steps: int) -> Callable[[Tree, Array, Array], tuple[Tree, Array]]:
    forward = getattr(jax_models, model)
    update = partial(RULES[task.rule], **dict(task.hyper))

    def loss_of(params: Tree, x: Array, y: Array) -> Array:
        log_p = jax.nn.log_softmax(forward(params, x))
        return -jnp.take_along_axis(log_p, y[:, None], 1).mean()

    def step(state: Tree, batch: tuple[Array, Array]) -> tuple[Tree, Array]:
        loss, grads = jax.value_and_grad(loss_of)(state[0], *batch)
        return update(state, grads), loss

    def run(state: Tree, x: Array, y: Array) -> tuple[Tree, Array]:
        return step(state, (x, y)) if steps == 1 else lax.scan(step, state, (x, y))

    return jax.jit(run, donate_argnums=0)


def sgd(state: Tree, grads: Tree, lr: float) -> Tree:
    """p = p - lr g."""
    params, moments, count = state
    return jax.tree.map(lambda p, g: p - lr * g, params, grads), moments, count


def adam(state: Tree, grads: Tree, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> Tree:
    """Adam as PyTorch computes it."""
    params, (means, squares), count = state
    count = count + 1
    means = jax.tree.map(lambda m, g: betas[0] * m + (1 - betas[0]) * g, means, grads)
    squares = jax.tree.map(lambda s, g: betas[1] * s + (1 - betas[1]) * g * g, squares, grads)
    size, root = lr / (1 - betas[0] ** count), jnp.sqrt(1 - betas[1] ** count)
    params = jax.tree.map(lambda p, m, s: p - size * m / (jnp.sqrt(s) / root + eps), params, means, squares)
    return params, [means, squares], count


RULES: dict[str, Callable[..., Tree]] = {"SGD": sgd, "Adam": adam}
