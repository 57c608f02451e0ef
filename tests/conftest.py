"""What every test runs under."""

from __future__ import annotations

import os
from collections.abc import Iterator

# One thread for each process, those that tests start too, unless it is said: threads wait for each other in a loop, so
# that two processes of two threads each take several times as long on two cores as two of one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # where torch was imported before


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled programs go to a folder of this run's, one for all of its processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODGRAD_CACHE", str(folder / "programs"))
        yield


@pytest.fixture(autouse=True)
def same_numbers() -> Iterator[None]:
    """The same random numbers in every test, and memory fresh from torch.empty filled with NaN: what reads it shows."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_grad_enabled(True)
