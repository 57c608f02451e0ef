"""Rows of the table of cases as one ONNX graph: each row's values, gradients and buffers of one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import onnx
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modgrad import functional, nn
from modgrad.export.onnx.graph import Graph, model
from modgrad.export.onnx.lower import decompositions, lowered
from modgrad.export.onnx.program import KERNELS
from modgrad.export.onnx.session import Session
from modgrad.graph import Randomness
from modgrad.graph.tracing import Tracing, substituted
from modgrad.interop.exporting import Program
from modgrad.step.dryrun import dry_run
from modgrad.step.locate import locating, paths
from modgrad.step.program import exporting
from tests.cases import Case, Inputs
from tests.contract.harness import cast, floats, pair, upstream_of, weighted

SEED = torch.tensor([3, 5])
Found = dict[str, Tensor]


class Call:
    """A case's module and inputs. What it is given is random, and the same each time it is made."""

    def __init__(self, case: Case, make: Callable[[], Inputs], dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.module, _ = pair(case, dtype)
        self.state = {name: value.clone() for name, value in self.module.state_dict().items()}
        self.inputs = list(cast(make(), dtype))
        with nn.no_grad(), Randomness(SEED), substituted(self.module, self.state):
            self.upstream = upstream_of(floats(self.module(*self.inputs)))

    @property
    def given(self) -> Any:
        return self.state, self.inputs, self.upstream

    def __call__(self, given: Any, seed: Tensor) -> Found:
        """Outputs, gradients of inputs and parameters, and buffers."""
        state, inputs, upstream = given
        state = {name: value.clone() for name, value in state.items()}
        with Tracing(), Randomness(seed), substituted(self.module, state) as stand_ins:
            x = [nn.Variable(v.clone()) if v.is_floating_point() else v for v in inputs]
            outputs = [y for y in pytree.tree_leaves(self.module(*x)) if isinstance(y, Tensor)]
            weighted(floats(outputs), upstream).backward()
            found: dict[str, Any] = {f"output {i}": y for i, y in enumerate(outputs)}
            found |= {f"gradient of input {i}": getattr(v, "grad_v", None) for i, v in enumerate(x)}
            found |= {f"gradient of {name}": stand_ins[name].grad_v for name, _ in self.module.named_parameters()}
            found |= {f"new {name}": value for name, value in self.module.named_buffers()}
        return {name: value for name, value in found.items() if isinstance(value, Tensor)}


class Calls:
    """Several calls, by name, as one program."""

    def __init__(
        self, rows: Sequence[tuple[str, Case, Callable[[], Inputs]]], dtype: torch.dtype = torch.float32
    ) -> None:
        self.calls = {name: Call(case, make, dtype) for name, case, make in rows}
        self.given = {name: call.given for name, call in self.calls.items()}
        self.paths = paths({name.replace(".", "_"): call.module for name, call in self.calls.items()})

    def __call__(self, given: Any, seed: Tensor) -> Found:
        found = {name: call(given[name], seed) for name, call in self.calls.items()}
        return {f"{name}: {key}": value for name, each in found.items() for key, value in each.items()}

    def eagerly(self, dtype: torch.dtype, kernels: bool) -> Found:
        """What the calls give in this dtype, by kernels or by formulas."""
        given = pytree.tree_map(lambda x: x.to(dtype) if x.is_floating_point() else x, self.given)
        with nullcontext() if kernels else functional.formulas():
            found = self(given, SEED)
        return {name: torch.as_tensor(value).detach().clone() for name, value in found.items()}

    def program(self) -> Any:
        """Traced as a step is that is exported."""
        dry_run(self.paths, self, self.given, SEED)
        with functional.formulas(but=KERNELS), locating(self.paths), exporting(self.paths):
            exported = torch.export.export(Program(self), (self.given, SEED), strict=False)
            return exported.run_decompositions(decompositions())

    def graph(self) -> bytes:
        """Raises ExportError or UntraceableError, with the name of the call, where one has no form in ONNX."""
        program = self.program()
        graph = Graph()
        results = lowered(program, [f"in{i}" for i in range(len(self._leaves()))], graph)
        found = pytree.tree_unflatten(results, program.call_spec.out_spec)
        outputs = {name: (value, list(value.shape or ())) for name, value in found.items()}
        inputs = [(name, list(value.shape or ())) for name, value in graph.inputs.items()]
        proto = model(graph.proto("rows", inputs, outputs))
        onnx.checker.check_model(proto, full_check=True)
        return proto.SerializeToString()

    def run(self, graph: bytes) -> Found:
        """In onnxruntime."""
        return Session(graph, "row")({f"in{i}": x for i, x in enumerate(self._leaves())})

    def _leaves(self) -> list[Tensor]:
        return pytree.tree_leaves((self.given, SEED))
