"""The training step of a small policy network, whose latency is all that counts: 8 observations, 4 actions.

The loss is the policy gradient's where every return is 1: the cross entropy of the actions that were taken.
"""

from __future__ import annotations

from functools import partial

from benchmarks.contestants import of_jax, of_modgrad, of_pytorch, of_torch_compile, of_whole_step
from benchmarks.harness import Goal, Workload
from benchmarks.mlp import SETTINGS, task
from benchmarks.training import weights

SIZES = (8, 64, 64, 4)


def workload(name: str, size: int, device: str) -> Workload:
    """size: of the batch."""
    work = task(SIZES, size, "Adam", 0.001, "Tanh", device=device)
    contestants = [
        *of_modgrad(work, Goal(1.8), Goal(6.0)),
        *of_pytorch(work, SETTINGS),
        of_torch_compile(work),
        of_whole_step(work),
        *(of_jax(work, "tanh_perceptron") if device == "cpu" else []),
    ]
    title = f"Policy network {'-'.join(map(str, SIZES))}, tanh, batch {size}, {work.update}"
    return Workload(name, title, contestants, weights=partial(weights, work))


def workloads(device: str) -> list[Workload]:
    return [workload("policy-1", 1, device), workload("policy-32", 32, device)]
