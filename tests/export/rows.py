"""A row of the table of primitives, forward and backward, as an ONNX graph."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import onnx
import torch
from torch import Tensor

from modgrad import nn
from modgrad.export.onnx.graph import Graph, model
from modgrad.export.onnx.lower import decompositions, lowered
from modgrad.export.onnx.program import KERNELS
from modgrad.functional.kernel import formulas
from modgrad.graph import Randomness
from modgrad.graph.tracing import Tracing, substituted
from modgrad.interop.exporting import Program
from modgrad.step.program import tidied
from modgrad.step.quiet import quiet
from tests.cases import Case
from tests.contract.harness import cast, floats, leaves, pair, upstream_of, weighted

DTYPE = torch.float32
SEED = torch.tensor([3, 1])


class Row:
    """One row with its first inputs: `graph` is the ONNX graph, `expected` what it is to give for `given`."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        self.module, _ = pair(case, DTYPE)
        self.inputs = cast(case.inputs[0](), DTYPE)
        self.state = {name: x.clone() for name, x in self.module.state_dict().items()}
        self.differentiable = [i for i, x in enumerate(self.inputs) if x.is_floating_point()]
        with nn.no_grad(), Randomness(SEED):
            self.upstream = upstream_of(floats(copy.deepcopy(self.module)(*self.inputs)))

    def exported(self) -> Any:
        with formulas(but=KERNELS), torch.no_grad(), quiet():
            program = torch.export.export(Program(self._traced), (self.state, self._batch()), strict=False)
            return tidied(program.run_decompositions(decompositions()))

    def _batch(self) -> Any:
        return list(self.inputs), self.upstream, SEED

    def _traced(self, state: dict[str, Tensor], batch: Any) -> Any:
        inputs, upstream, seed = batch
        state = {name: x.clone() for name, x in state.items()}
        with Randomness(seed), Tracing(), substituted(self.module, state) as parameters:
            x = [nn.Variable(v) if i in self.differentiable else v for i, v in enumerate(inputs)]
            y = floats(self.module(*x))
            weighted(y, upstream).backward()
            wanted = [parameters[name].grad_v for name, _ in self.module.named_parameters()]
            found = [*y, *(x[i].grad_v for i in self.differentiable), *wanted]
            return [value for value in found if value is not None]

    def expected(self, kernels: bool, dtype: torch.dtype = DTYPE) -> list[Tensor]:
        """The same eagerly, by kernels or by formulas."""
        module = copy.deepcopy(self.module).to(dtype)
        with nullcontext() if kernels else formulas(), Randomness(SEED):
            x = leaves(cast(self.inputs, dtype))
            y = floats(module(*x))
            weighted(y, [grad.to(dtype) for grad in self.upstream]).backward()
        grads = [x[i].grad_v for i in self.differentiable]
        grads += [p.grad_v for p in module.parameters()]
        values = [*(v.detach() for v in y), *(g for g in grads if g is not None)]
        return [torch.as_tensor(v).as_subclass(Tensor) for v in values]

    def lowered(self) -> tuple[onnx.ModelProto, dict[str, Tensor]]:
        """The graph, and what it is given."""
        values = [*self.state.values(), *self.inputs, *self.upstream, SEED]
        given = {f"in{i}": x for i, x in enumerate(values)}
        graph = Graph()
        results = lowered(self.exported(), list(given), graph)
        outputs = {f"out{i}": (value, list(value.shape or ())) for i, value in enumerate(results)}
        proto = model(graph.proto("row", [(name, list(x.shape)) for name, x in given.items()], outputs))
        return proto, given
