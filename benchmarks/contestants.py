"""Who takes part: for any task the rows of modgrad, of PyTorch and of JAX, by the names that the report shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from benchmarks import compiled
from benchmarks.exported import by_onnxruntime
from benchmarks.harness import Contestant, Goal
from benchmarks.training import Task, by_least_memory, by_modgrad, by_pytorch, later, prepare

JAX = find_spec("jax") is not None
ONNX = find_spec("onnx") is not None and find_spec("onnxruntime") is not None
TOGETHER = 10  # training steps in one call, where several are

DYNAMO = ("torch._dynamo",)  # PyTorch imports it at the first step of an optimizer
COMPILER = ("torch._dynamo", "torch._inductor.compile_fx")
Settings = Mapping[str, Mapping[str, Any]]  # the words of a row, and arguments for its optimizer or layout
FUSED: Settings = {"fused=True": {"fused": True}}
# Allowed to round to bfloat16 within products, which not every processor then does: in effect another library for them.
MEDIUM: Settings = {"fused=True, matmul precision medium": {"fused": True, "precision": "medium"}}


def of_modgrad(
    task: Task, eager: Goal, whole: Goal | None, words: str = "", together: bool = True, **layout: Any
) -> list[Contestant]:
    """Eager and compiled, with their goals; without a goal for compiled, eager alone. words: added to the names.

    together: whether also several steps in a call, which tells nothing where one takes long.
    """
    make = partial(by_modgrad, task, **layout)
    rows = [Contestant(f"modgrad{words}", make, goal=eager, prepare=partial(prepare, task))]
    if whole is None:
        return rows
    several = ((1, "modgrad, compiled"), (TOGETHER, f"modgrad, compiled, {TOGETHER} steps a call"))
    for steps, name in several if together else several[:1]:
        rows.append(
            Contestant(
                f"{name}{words}",
                compiled.kept(compiled.by_modgrad, task, steps, **layout),
                steps=steps,
                compiled=True,
                goal=whole,
                prepare=partial(prepare, task, steps),
                modules=("modgrad.step", "modgrad.interop.exporting", *COMPILER),
            )
        )
    return rows


def of_least_memory(
    task: Task, marked: Callable[[Any], Iterable[Any]], goal: Goal, words: str = "", **layout: Any
) -> Contestant:
    """modgrad with all that saves memory. marked: the blocks of a model that are computed again in backward."""
    return Contestant(
        f"modgrad{words}, recompute, fuse_update",
        partial(by_least_memory, task, marked, **layout),
        goal=goal,
        prepare=partial(prepare, task),
        modules=("modgrad.step",),
    )


def of_pytorch(task: Task, settings: Settings = FUSED, words: str = "") -> list[Contestant]:
    """Eager, with each of the settings: the baselines."""
    return [
        Contestant(
            f"PyTorch, {setting}{words}",
            partial(by_pytorch, task, **arguments),
            baseline=True,
            prepare=partial(prepare, task),
            modules=DYNAMO,
        )
        for setting, arguments in settings.items()
    ]


def of_torch_compile(task: Task, words: str = "", **setting: Any) -> Contestant:
    """Model and criterion compiled, and the optimizer."""
    return Contestant(
        f"PyTorch, compiled model and optimizer{words}",
        compiled.kept(compiled.by_parts, task, **setting),
        compiled=True,
        prepare=partial(prepare, task),
        modules=COMPILER,
    )


def of_whole_step(task: Task, words: str = "", **setting: Any) -> Contestant:
    """One compiled function of forward, torch.func.grad_and_value and update."""
    return Contestant(
        f"PyTorch, compiled whole step{words}",
        partial(compiled.whole, task, **setting),
        compiled=True,
        prepare=partial(prepare, task),
        modules=COMPILER,
    )


def of_onnx(task: Task, goal: Goal | None = None) -> list[Contestant]:
    """modgrad's step exported as ONNX, run by onnxruntime. None where that is not installed."""
    if not ONNX:
        return []
    forms: list[tuple[str, int, dict[str, Any]]] = [
        ("", 1, {}),
        (", packed", 1, {"pack": True}),
        (f", packed, scan, {TOGETHER} steps a call", TOGETHER, {"pack": True}),
    ]
    return [
        Contestant(
            f"modgrad, onnxruntime{words}",
            compiled.kept(by_onnxruntime, task, steps, **form),
            steps=steps,
            compiled=True,
            goal=goal,
            prepare=partial(prepare, task, steps),
            modules=("modgrad.step", "modgrad.export.onnx.export", "onnxruntime", *COMPILER),
        )
        for words, steps, form in forms
    ]


def of_jax(task: Task, model: str, scan: bool = True) -> list[Contestant]:
    """A jitted step, and a scan over several. model: its name in jax_models.py. None where JAX is not installed."""
    if not JAX:
        return []
    return [
        Contestant(
            name,
            partial(later, "benchmarks.jax_steps", "training", task, model, steps),
            steps=steps,
            prepare=partial(later, "benchmarks.jax_steps", "prepare", task, steps),
            modules=("benchmarks.jax_steps",),
        )
        for steps, name in ((1, "JAX, jit"), (TOGETHER, f"JAX, scan, {TOGETHER} steps a call"))[: 2 if scan else 1]
    ]
