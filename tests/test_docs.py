"""The code in the README runs, and the links in the documents lead somewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from modgrad.cli import main
from modgrad.export import OnnxTrainer

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


def test_the_way_from_a_module_to_a_trained_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/export.md word by word, but for the page: the files, the command, the training."""
    pytest.importorskip("onnxruntime")
    text = (ROOT / "docs" / "export.md").read_text()
    mine, training, back = re.findall(r"```python\n(.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "mine", None)  # so that it is gone afterwards
    Path("mine.py").write_text(mine)
    (command,) = re.findall(r"^    modgrad (export .*)", text, re.M)
    Path("page").mkdir()
    assert main(command.split()) == 0
    for block in (training, back):
        exec(compile(block, "docs/export.md", "exec"), {"__name__": "docs"})
    found = re.search(r"(\d+) of 50 wrong", capsys.readouterr().out)
    assert found is not None
    assert int(found[1]) <= 4
    (last,) = re.findall(r"^    (OnnxTrainer\(.*\))", text, re.M)
    assert eval(last, {"OnnxTrainer": OnnxTrainer}).manifest.scan is False
    assert 'Trainer.load("own.json"' in (ROOT / "examples" / "page" / "index.html").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        assert target.startswith("https://") or (document.parent / target).exists(), target
    for path in re.findall(r"`((?:modgrad|tests|docs|examples|benchmarks)/[\w./]+)`", document.read_text()):
        assert (ROOT / path).exists(), path
