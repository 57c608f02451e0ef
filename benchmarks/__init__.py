"""How fast modgrad is, beside what else could have been used: `python -m benchmarks` from the root of the repository.

    harness.py     what a workload is; that its contestants agree; the clock
    mlp.py         workloads: a training step of multilayer perceptrons
    sequence.py    workloads: a training step of an LSTM, and of attention
    vocabulary.py  workloads: the loss over a large vocabulary
    report.py      the tables, for the terminal and for docs/benchmarks.md
    __main__.py    the command

A further family of workloads is a file like mlp.py, and one more entry below.
"""

from benchmarks import mlp, sequence, vocabulary

# Every workload by name, in the order of the report.
WORKLOADS = {workload.name: workload for workload in [*mlp.WORKLOADS, *sequence.WORKLOADS, *vocabulary.WORKLOADS]}
