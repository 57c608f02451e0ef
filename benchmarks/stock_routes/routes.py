"""The routes from a PyTorch model to an ONNX file of its training step. Each raises where PyTorch does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import torch._dynamo
from torch import Tensor
from torch.export.experimental import _export_forward_backward
from torch.fx.experimental import proxy_tensor as fx

from benchmarks.stock_routes.models import Subject, made
from benchmarks.stock_routes.step import EPS, LR, Step, by_autograd, by_func

Batch = tuple[Tensor, Tensor]
# Runs so many steps; the parameters afterwards by name, or None where none come out of the file; and the losses.
Run = Callable[[int], tuple[dict[str, Any] | None, list[float]]]


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def fed_back(path: Path, step: Step, batch: Batch) -> Run:
    """Runs a file of (*state, x, y) -> (*state, loss)."""
    running = session(path)
    names = [port.name for port in running.get_inputs()]
    initial = [value.numpy() for value in step.initial()]
    given = [value.numpy() for value in batch]

    def run(steps: int) -> tuple[dict[str, Any] | None, list[float]]:
        state, losses = initial, []
        for _ in range(steps):
            *state, loss = running.run(None, dict(zip(names, [*state, *given], strict=True)))
            losses.append(float(loss))
        return dict(zip(step.parameters_of, state, strict=False)), losses

    return run


def functional(subject: Subject, path: Path, gradients: Any) -> Run:
    """torch.onnx.export of a module whose forward is the whole step, its state arguments and results."""
    model, batch = made(subject)
    step = Step(model, gradients)
    torch.onnx.export(step, (*step.initial(), *batch), path, dynamo=True, verbose=False)
    return fed_back(path, step, batch)


def autograd_grad(subject: Subject, path: Path) -> Run:
    return functional(subject, path, by_autograd)


def traced_autograd(subject: Subject, path: Path) -> Run:
    """As PyTorch's own error says: the setting that lets torch.export, in strict mode, trace through autograd."""
    model, batch = made(subject)
    step = Step(model, by_autograd)
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        program = torch.export.export(step, (*step.initial(), *batch), strict=True)
    torch.onnx.export(program, (), path, dynamo=True, verbose=False)
    return fed_back(path, step, batch)


def func_grad(subject: Subject, path: Path) -> Run:
    return functional(subject, path, by_func)


def make_fx(subject: Subject, path: Path) -> Run:
    """The step is traced first, to a graph in which no gradients are left to be found; that is exported."""
    model, batch = made(subject)
    step = Step(model, by_func)
    arguments = (*step.initial(), *batch)
    torch.onnx.export(fx.make_fx(step)(*arguments), arguments, path, dynamo=True, verbose=False)
    return fed_back(path, step, batch)


class Whole(torch.nn.Module):
    """forward(x, y) -> (loss, *new parameters), with plain gradient descent: enough to see whether it exports."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        parameters = list(self.model.parameters())
        with torch.enable_grad():
            loss = torch.nn.functional.cross_entropy(self.model(x), y)
            gradients = torch.autograd.grad(loss, parameters)
        return (loss.detach(), *(p.detach() - LR * g for p, g in zip(parameters, gradients, strict=True)))


def torchscript(subject: Subject, path: Path) -> Run:
    """The exporter by tracing. The model is a submodule, as it takes no functional_call."""
    model, batch = made(subject)
    torch.onnx.export(Whole(model), batch, path, dynamo=False, do_constant_folding=False)
    raise NotImplementedError("this route has never come so far: write how its file is run")


class Loop(torch.nn.Module):
    """The step as everybody writes it: backward, and an optimizer that changes the model where it is."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=LR, eps=EPS, capturable=True)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def in_place(subject: Subject, path: Path) -> Run:
    """torch.export of the loop's body, and the ONNX exporter on that."""
    model, batch = made(subject)
    program = torch.export.export(Loop(model), batch)
    torch.onnx.export(program, (), path, dynamo=True, verbose=False)
    running = session(path)
    inputs = {port.name: value.numpy() for port, value in zip(running.get_inputs(), batch, strict=True)}
    if len(running.get_outputs()) == 1:  # the loss alone
        return lambda steps: (None, [float(running.run(None, inputs)[0]) for _ in range(steps)])
    raise RuntimeError(f"the file has {len(running.get_outputs())} outputs, and no inputs for the state")


class Loss(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor]:
        return (torch.nn.functional.cross_entropy(self.model(x), y),)


def joint(subject: Subject, path: Path) -> Run:
    """PyTorch's experimental export of forward and backward as one graph, and the ONNX exporter on that.

    The graph gives loss and gradients. The update is left to whoever runs it: here Adam in numpy.
    """
    model, batch = made(subject)
    program = _export_forward_backward(torch.export.export(Loss(model), batch, strict=False))
    specs = program.graph_signature.output_specs
    gradients = {spec.target: i for i, spec in enumerate(specs) if "GRADIENT_TO_PARAMETER" in str(spec.kind)}
    torch.onnx.export(program, (), path, dynamo=True, verbose=False, keep_initializers_as_inputs=True)
    outputs = len(onnx.load(path).graph.output)
    if outputs != len(specs):
        raise RuntimeError(f"the program has {len(specs)} outputs, the file {outputs}")
    running = session(path)
    own = {name.removeprefix("model."): name for name in gradients}
    values = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    names = [port.name for port in running.get_inputs()]
    given = {name: value.numpy() for name, value in zip(names, batch, strict=False)}
    moments = {name: [np.zeros_like(value), np.zeros_like(value)] for name, value in values.items()}

    def run(steps: int) -> tuple[dict[str, Any] | None, list[float]]:
        losses = []
        for number in range(1, steps + 1):
            found = running.run(None, {**given, **{own[name]: value for name, value in values.items()}})
            losses.append(float(found[0]))
            for name, value in values.items():
                gradient, (mean, square) = found[gradients[own[name]]], moments[name]
                mean[...] = 0.9 * mean + 0.1 * gradient
                square[...] = 0.999 * square + 0.001 * gradient**2
                step = (mean / (1 - 0.9**number)) / (np.sqrt(square / (1 - 0.999**number)) + EPS)
                values[name] = (value - LR * step).astype(np.float32)
        return values, losses

    return run
