"""Compiled, LinearCrossEntropyLoss still holds one chunk of scores at a time. The compiler has no switch for that: it
rests on how the loss is written and on the order of the program being kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import memory

PROGRAM = """
from benchmarks.memory import Meter, only_here
only_here()
import torch
torch.set_num_threads(1)
from modgrad import nn, optim
from modgrad.step import TrainingStep
features, classes, chunk, chunks = 16, 6000, 16, 20
model = nn.Linear(features, features)
criterion = nn.LinearCrossEntropyLoss(features, classes, options=chunk)
optimizer = optim.SGD([*model.parameters(), *criterion.parameters()], lr=0.1)
step = TrainingStep(model, criterion, optimizer).compile()
batch = torch.randn(chunk * chunks, features), torch.randint(0, classes, (chunk * chunks,))
step(*batch)
meter = Meter()
before = meter.live()
meter.reset()
step(*batch)
print((meter.peak() - before) / (chunk * classes * 4))
"""


def test_one_chunk_at_a_time(tmp_path: Path) -> None:
    """In chunks' scores: those of one, e^x and G of it, and the weight's gradient, which is as large as one here."""
    library = memory.build(tmp_path)
    if library is None:
        pytest.skip("memory is not counted here")
    root = Path(__file__).parent.parent.parent
    variables = {**os.environ, **memory.counting(library), "MODGRAD_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=variables, cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 5.5, "of 20 chunks"
