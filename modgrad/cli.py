"""The `modgrad` command. Each of its commands is an entry of COMMANDS; what it needs is imported when it runs."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modgrad import __version__

__all__ = ["main"]


class UsageError(Exception):
    """What was asked for cannot be done as it was asked; the message says what to write."""


@dataclass(frozen=True)
class Command:
    """What the command line offers.   help: one line. arguments: adds its own. run: does it, and returns the status."""

    help: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
    epilog: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says. Returns the exit status: 0 done, 1 not possible, 2 not understood."""
    parser = ArgumentParser("modgrad", description="Deep learning with backpropagation at the level of modules.")
    parser.add_argument("--version", action="version", version=f"modgrad {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {}
    for name, command in COMMANDS.items():
        parsers[name] = commands.add_parser(
            name,
            help=command.help,
            description=command.help,
            epilog=command.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(parsers[name])
    options = parser.parse_args(arguments)
    try:
        return COMMANDS[options.command].run(options)
    except UsageError as error:
        parsers[options.command].error(str(error))


# modgrad export


def _export_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("target", metavar="FILE.py[:FUNCTION]", help="the function (training_step, if none is named)")
    parser.add_argument("output", metavar="OUT.onnx", type=Path, help="the file of the step; the others get its name")
    parser.add_argument("--steps", choices=["1", "scan"], default="1", help="scan: several stacked batches in a call")
    parser.add_argument("--pack", action="store_true", help="the state in few flat tensors: faster for small models")
    parser.add_argument("--gradients", action="store_true", help="each step also gives the parameters' gradients")


def _export(options: Namespace) -> int:
    if options.output.suffix != ".onnx":
        raise UsageError(f"{options.output}: expected the name of an .onnx file")
    if not options.output.parent.is_dir():
        raise UsageError(f"{options.output}: there is no folder {options.output.parent}")
    step, *batch = _made(options.target)
    steps = "scan" if options.steps == "scan" else 1
    try:
        step.export_onnx(options.output, *batch, steps=steps, gradients=options.gradients, pack=options.pack)
    except Exception as error:
        sys.stderr.write(f"modgrad export: {options.output} was not written. {type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write(_summary(options.output))
    return 0


def _made(target: str) -> tuple[Any, ...]:
    """What the function that `target` names returns: a step and a batch for it."""
    place, _, name = target.rpartition(":")
    if not place.endswith(".py"):
        place, name = target, "training_step"
    file = Path(place)
    if file.suffix != ".py" or not file.is_file():
        raise UsageError(f"{target}: expected FILE.py or FILE.py:FUNCTION, and there is no file {place}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{place} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.resolve().parent))  # for what lies beside it
    sys.modules[file.stem] = module
    _call(f"importing {place}", lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(
            f"{place} has no function {name}: write one that returns (step, x, y), or name it after a colon"
        )
    found = _call(f"{name}() of {place}", function)

    from modgrad.step import TrainingStep  # noqa: PLC0415 (imports PyTorch)

    if not isinstance(found, tuple) or len(found) < 3 or not isinstance(found[0], TrainingStep):
        raise UsageError(
            f"{name}() of {place} returns {_described(found)}: expected (step, x, y), a "
            "modgrad.step.TrainingStep and a batch for it"
        )
    return found


def _call(what: str, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}, line {last.lineno}"
        raise UsageError(f"{what} raises {type(error).__name__}: {error} ({where})") from error


def _described(found: Any) -> str:
    if isinstance(found, tuple):
        return f"({', '.join(type(each).__name__ for each in found)})"
    return type(found).__name__


def _summary(path: Path) -> str:
    """The files that an export wrote, what is in them, and what to do with them."""
    import onnx  # noqa: PLC0415 (with which they were written)

    from modgrad.export.manifest import Manifest  # noqa: PLC0415 (numpy takes a moment)

    manifest = Manifest.read(path)
    operators = Counter(node.op_type for graph in _graphs(onnx.load(path).graph) for node in graph.node)
    parameters = sum(named.size for named in manifest.named.values() if named.kind == "parameter")
    about = {
        manifest.step: f"{'steps of training' if manifest.scan else 'one training step'}: {operators.total()} nodes",
        manifest.predict: "prediction, with the same state",
        manifest.path: "the manifest: what goes where",
        manifest.state: f"the state: {parameters:,} parameters, and what {manifest.optimizer} keeps",
    }
    width = max(len(file.name) for file in about)
    lines = [f"  {file.name:{width}}  {_size(file):>8}  {text}" for file, text in about.items()]
    inputs = ", ".join(map(str, (*manifest.batch, *manifest.numbers)))
    most = ", ".join(f"{name} {count}" for name, count in operators.most_common())
    return f"""\
{manifest.model} with {manifest.criterion} and {manifest.optimizer}, in {path.parent.resolve()}
{chr(10).join(lines)}

Inputs beside the state: {inputs}
Operators: {most}

    from modgrad.export import OnnxTrainer
    trainer = OnnxTrainer({str(path)!r})
    loss = trainer.step({", ".join(port.name for port in manifest.batch)})
"""


def _graphs(graph: Any) -> list[Any]:
    """A graph and those within its nodes, as a Scan's body."""
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [graph, *(found for each in inner for found in _graphs(each))]


def _size(file: Path) -> str:
    size = file.stat().st_size
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


# modgrad playground


def _playground_arguments(parser: ArgumentParser) -> None:
    from modgrad.playground.server import add_arguments  # noqa: PLC0415

    add_arguments(parser)


def _playground(options: Namespace) -> int:
    from modgrad.playground.server import playground  # noqa: PLC0415

    return playground(options.port, open_browser=not options.no_open)


COMMANDS: dict[str, Command] = {
    "export": Command(
        "write a training step as ONNX files, to be run by onnxruntime, in a browser, from C++",
        _export_arguments,
        _export,
        epilog="""\
FILE.py holds a function that returns a step and a batch for it:

    def training_step():
        model = nn.Sequential(nn.Linear(2, 25), nn.ReLU(), nn.Linear(25, 2))
        step = TrainingStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()))
        return step, torch.rand(100, 2), torch.randint(2, (100,))

example: modgrad export mine.py mine.onnx --gradients
""",
    ),
    "playground": Command(
        "train exported steps in the browser: a page that this machine alone can see",
        _playground_arguments,
        _playground,
    ),
}
