"""What torch.export takes: it asks for one of PyTorch's own modules, and modgrad's programs are functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Program(torch.nn.Module):
    """A function of (state, batch) as a module of PyTorch's, without state of its own."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, state: Any, batch: Any) -> Any:
        return self.function(state, batch)
