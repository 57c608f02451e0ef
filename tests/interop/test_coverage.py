"""docs/coverage.md says what the code has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modgrad.interop.coverage import page

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"


@pytest.mark.skipif(not torch.__version__.startswith("2.13"), reason="the page is of torch 2.13")
def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == page(), "write it anew: python -m modgrad.interop.coverage > docs/coverage.md"


def test_nothing_is_missing_without_a_reason() -> None:
    assert "not there |" not in page()
