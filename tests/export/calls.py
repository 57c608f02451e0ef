"""A row of the table of cases as an ONNX graph of its own: values, gradients and buffers of one call."""

from __future__ import annotations

from collections.abc import Callable
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

SEED = torch.tensor([3, 5])


class Row:
    """One call of a case's module with its gradients, as a function of parameters and buffers, inputs, gradients of the
    outputs, and the seed that it draws from."""

    def __init__(self, case: Case, make: Callable[[], Inputs], dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.module = case.make().to(dtype)
        for name, value in self.module.state_dict().items():
            if value.is_floating_point() and name != "weight_of_classes":
                value.copy_(torch.rand_like(value) + 0.5)  # positive, as a variance must be
        self.module.train(case.training)
        self.paths = paths({"": self.module})
        self.state = {name: value.clone() for name, value in self.module.state_dict().items()}
        self.inputs = [x.to(dtype) if x.is_floating_point() else x for x in make()]
        with nn.no_grad(), Randomness(SEED):
            found = self._call(self.state, self.inputs)
        self.upstream = [torch.randn(y.shape, dtype=torch.float64).to(y.dtype) for y in found if y.is_floating_point()]
        self.names: list[str] = []

    def _call(self, state: dict[str, Tensor], inputs: list[Any]) -> list[Any]:
        with substituted(self.module, {name: value.clone() for name, value in state.items()}):
            return [y for y in pytree.tree_leaves(self.module(*inputs)) if isinstance(y, Tensor)]

    def __call__(self, state: dict[str, Tensor], data: tuple[list[Tensor], list[Tensor], Tensor]) -> list[Tensor]:
        """Outputs, gradients and buffers that were found; `names` says which."""
        inputs, upstream, seed = data
        given = {name: value.clone() for name, value in state.items()}
        with Tracing(), Randomness(seed), substituted(self.module, given) as stand_ins:
            x = [nn.Variable(v.clone()) if v.is_floating_point() else v for v in inputs]
            outputs = [y for y in pytree.tree_leaves(self.module(*x)) if isinstance(y, Tensor)]
            floats = [y for y in outputs if y.is_floating_point()]
            total: Any = 0
            for y, grad in zip(floats, upstream, strict=True):
                total = (y * grad).sum() + total
            total.backward()
            found: dict[str, Any] = {f"output {i}": y for i, y in enumerate(outputs)}
            found |= {f"gradient of input {i}": getattr(v, "grad_v", None) for i, v in enumerate(x)}
            trained = {name for name, _ in self.module.named_parameters()}
            found |= {f"gradient of {n}": v.grad_v for n, v in stand_ins.items() if n in trained}
            found |= {f"new {n}": v for n, v in self.module.named_buffers()}
        found = {name: value for name, value in found.items() if isinstance(value, Tensor)}
        self.names = list(found)
        return list(found.values())

    @property
    def data(self) -> Any:
        return self.inputs, self.upstream, SEED

    def eagerly(self) -> dict[str, Tensor]:
        results = self(self.state, self.data)
        return {name: torch.as_tensor(y).detach().clone() for name, y in zip(self.names, results, strict=True)}

    def program(self) -> Any:
        """As the exporter traces a step."""
        dry_run(self.paths, self, self.state, self.data)
        with functional.formulas(but=KERNELS), locating(self.paths), exporting(self.paths):
            exported = torch.export.export(Program(self), (self.state, self.data), strict=False)
            return exported.run_decompositions(decompositions())

    def graph(self) -> bytes:
        program = self.program()
        graph = Graph()
        given = [f"state {i}" for i in range(len(self.state))]
        given += [f"data {i}" for i in range(len(pytree.tree_leaves(self.data)))]
        results = lowered(program, given, graph)
        outputs = {name: (value, list(value.shape or ())) for name, value in zip(self.names, results, strict=True)}
        shapes = [(name, list(value.shape or ())) for name, value in graph.inputs.items()]
        return model(graph.proto("row", shapes, outputs)).SerializeToString()

    def run(self, proto: bytes) -> dict[str, Tensor]:
        onnx.checker.check_model(proto, full_check=True)
        session = Session(proto, "row")
        given = {f"state {i}": x for i, x in enumerate(self.state.values())}
        given |= {f"data {i}": x for i, x in enumerate(pytree.tree_leaves(self.data))}
        return session(given)
