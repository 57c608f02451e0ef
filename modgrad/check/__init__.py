"""Gradient checking: is what backward states the derivative of what forward computes?

From a program `check.gradients(module, *inputs)`; from the command line `python -m modgrad.check package.module:Class`.

In the order that a check goes through them: `gradients` (the public function) copies the module and has its calls
recorded by `record`; each is a `subject` (module, inputs, targets; `state` keeps it the same at every evaluation);
`compare` goes through its derivatives, `elements` puts one beside what `differences` measure; `report` holds what was
found. `target` and `guess` serve the command line: what to check, on which inputs.
"""

from modgrad.check.gradients import gradients
from modgrad.check.report import Entry, Report

__all__ = ["Entry", "Report", "gradients"]
