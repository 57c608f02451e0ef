"""Exported programs given to PyTorch's ahead-of-time compiler, AOTInductor."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modgrad.graph.autocast import torch_autocast_off
from modgrad.step import convolutions, products, scalars
from modgrad.step.dryrun import UntraceableError
from modgrad.step.locate import place_of
from modgrad.step.native import refuse_without_compiler
from modgrad.step.quiet import quiet

_SMALL = 2**20  # values


def package(programs: dict[str, Any], path: Path) -> None:
    """Compile torch.export's programs, of functional ATen operations, into one package, where each has its name."""
    refuse_without_compiler()
    with quiet():
        from torch._inductor.package.package import package_aoti  # noqa: PLC0415 (takes seconds to import)

    files = {name: compiled(exported) for name, exported in programs.items()}
    with quiet():
        package_aoti(str(path), files)


def compiled(exported: Any) -> Any:
    """The files that a package holds of one program."""
    import torch._inductor  # noqa: PLC0415

    with torch.no_grad(), torch_autocast_off(), quiet():
        _refuse_foreign(exported.graph)
        places = _places(exported.graph)
        convolutions.joined(exported.graph_module)
        products.chosen(exported.graph_module)
        scalars.apart(exported.graph_module)
        with products.lowered():
            # Small intermediates are taken from one piece of memory, as asking for each takes longer than filling it.
            # Large ones are made in the program's own order: what goes by chunks would else hold all chunks at once.
            small = _intermediate(exported.graph) < _SMALL
            options = {"aot_inductor.package": True, "memory_planning": small, "reorder_for_locality": small}
            positional, named = exported.example_inputs
            try:
                return torch._inductor.aot_compile(
                    exported.module(check_guards=False), positional, named, options=options
                )
            except Exception as error:
                raise UntraceableError(
                    f"PyTorch's compiler could not compile the step{_blamed(places, error)}: "
                    f"{type(error).__name__}: {error}"
                ) from error


def sizes(exported: Any) -> tuple[int, int]:
    """The batch sizes that an exported program can take: (2, 0) if the model fixed them to one."""
    ranges = list(exported.range_constraints.values())
    if len(ranges) != 1:
        return 2, 0
    (only,) = ranges
    high = int(only.upper) if only.upper < 2**62 else 2**62
    return max(2, int(only.lower)), high


def _intermediate(graph: Any) -> int:
    """How many values the operations of a program give, or about, where the batch size is free."""
    values = [node.meta.get("val") for node in graph.nodes if node.op == "call_function"]
    return sum(math.prod(map(products.size, value.shape)) for value in values if isinstance(value, Tensor))


def _refuse_foreign(graph: Any) -> None:
    """Raise for an operation that only Python knows, which the compiled program would have to call."""
    for node in graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload) and node.target.namespace not in ("aten", "prims", "mkldnn"):
            raise UntraceableError(
                f"{place_of(node) or 'the step'} calls {node.target}, an operation made in Python, which a compiled "
                "program cannot: write it with torch's own"
            )


def _places(graph: Any) -> dict[str, set[str]]:
    """For each operation by name, where it comes from. Taken off the graph, as the compiler has no use for it."""
    places: dict[str, set[str]] = {}
    for node in graph.nodes:
        if place := place_of(node):
            places.setdefault(str(node.target), set()).add(place)
        node.meta.pop("custom", None)
    return places


def _blamed(places: dict[str, set[str]], error: Exception) -> str:
    """The places of the operation that an error of the compiler names."""
    found = [place for target, those in places.items() if f"target: {target}\n" in str(error) for place in those]
    return f", at {' or '.join(sorted(found))}" if found else ""
