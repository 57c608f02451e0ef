"""A training step as a value: model, criterion and optimizer as one thing that runs, traces and compiles.

In the order that a step goes through them: `training` (TrainingStep: runs eagerly), `state` (what a step reads and
changes, by name), `program` (the step as a pure function, exported, and its listing), `compiled` (the program as
machine code), `cache` (compiled programs on disk).
"""

from modgrad.step.training import TrainingStep

__all__ = ["TrainingStep"]
