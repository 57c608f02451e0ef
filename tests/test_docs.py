"""The code in the README runs, and the links in the documents lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readmes_code(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) >= 2
    torch.manual_seed(0)
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    printed = capsys.readouterr().out
    found = re.search(r"loss (\d\.\d+), errors (\d+) of 1000", printed)
    assert found is not None
    assert int(found[2]) <= 30
    assert "@" not in re.sub(r"`[^`]*`|```.*?```", "", text, flags=re.S), "a placeholder was left"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        assert target.startswith("https://") or (document.parent / target).exists(), target
    for path in re.findall(r"`((?:modgrad|tests|docs|examples|benchmarks)/[\w./]+)`", document.read_text()):
        assert (ROOT / path).exists(), path
