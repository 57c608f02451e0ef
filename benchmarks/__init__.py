"""How fast modgrad is, beside what else could have been used: `python -m benchmarks` from the root of the repository.

    mlp.py convolution.py recurrent.py gpt.py policy.py   the workloads, each model written once for all frameworks
    training.py     what a training task is, and its step by modules
    compiled.py     the same step through torch.compile, and through modgrad's TrainingStep
    exported.py     the same step exported as ONNX, run by onnxruntime
    jax_steps.py    the same step in JAX, of the models in jax_models.py
    by_hand.py      the same step in tensor operations, for perceptrons
    contestants.py  who takes part
    harness.py      what a workload is; that its contestants agree; the clock
    process.py      processes: each contestant's first step and memory alone, then the clock
    memory.py       how much memory arrays take, counted by memory.c
    report.py       the tables, for the terminal and for docs/benchmarks.md
    __main__.py     the command

A further family of workloads is a file like mlp.py, and one more entry below.
"""

from benchmarks import convolution, gpt, mlp, policy, recurrent
from benchmarks.harness import Workload

FAMILIES = (mlp, policy, convolution, recurrent, gpt)


def workloads(device: str) -> dict[str, Workload]:
    """Every workload by name, in the order of the report. device: cpu or cuda."""
    found = [workload for family in FAMILIES for workload in family.workloads(device)]
    return {workload.name: workload for workload in found}


WORKLOADS = workloads("cpu")
