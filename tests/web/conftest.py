"""What the tests of web/ need: Node, its packages, and `make web-test`, which sees to both."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"


@pytest.fixture(scope="session")
def chromium(node) -> None:
    """Skips where there is no browser; web/test.sh says so at the end."""
    if not Path(os.environ.get("CHROMIUM", "/usr/bin/chromium")).exists():
        pytest.skip("LEFT OUT, for there is no Chromium: apt-get install chromium, or CHROMIUM=<path>")


@pytest.fixture(scope="session")
def node() -> Callable[..., str]:
    """Runs web/test/run.mjs with the names of tests, in an environment; what it prints. It fails where they fail."""
    if "MODGRAD_WEB" not in os.environ:
        pytest.skip("the tests of web/ are run by: make web-test")
    program = shutil.which("node")
    if program is None or not (WEB / "node_modules").is_dir():
        pytest.fail("make web-test needs Node 20 or newer, and npm ci in web/")

    def run(*names: str, **environment: str) -> str:
        done = subprocess.run(
            [program, "test/run.mjs", *names],
            cwd=WEB,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"node test/run.mjs {' '.join(names)}\n{done.stdout}", pytrace=False)
        sys.stdout.write(done.stdout)
        return done.stdout

    return run
