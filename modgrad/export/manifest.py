"""What the manifest beside an exported training step says, read and looked through: `Manifest`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

__all__ = ["Manifest", "Named", "Number", "Port", "Tensor"]

FORMAT, VERSION = "modgrad-training-step", 1
Shape = tuple[int | str, ...]  # a free dimension has a name


@dataclass(frozen=True)
class Port:
    """An input or an output of a graph."""

    name: str
    shape: Shape
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.name} {self.form} {self.dtype}" if self.shape else f"{self.name} {self.dtype}"

    @property
    def form(self) -> str:
        """The shape, for people."""
        sizes = ", ".join(map(str, self.shape))
        return f"({sizes},)" if len(self.shape) == 1 else f"({sizes})"

    @property
    def is_fixed(self) -> bool:
        """Whether no dimension is free."""
        return all(isinstance(size, int) for size in self.shape)

    def sizes(self, free: Mapping[str, int] = MappingProxyType({})) -> tuple[int, ...]:
        """The shape, its free dimensions as given."""
        return tuple(size if isinstance(size, int) else free[size] for size in self.shape)


@dataclass(frozen=True)
class Named(Port):
    """A tensor of the state.   kind: parameter, buffer, optimizer, randomness, gradient or count."""

    kind: str
    size: int


@dataclass(frozen=True)
class Tensor(Port):
    """What a graph holds of the state: one named tensor, or several one after another, each from its offset on.

    output: what it is after a step; None where no step changes it.
    """

    output: str | None
    holds: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Number(Port):
    """A number that may be another at each step.   label: its name for people. value: at export."""

    label: str
    value: float


@dataclass(frozen=True)
class Manifest:
    """A training step in files.   step, predict, state: their paths."""

    path: Path
    step: Path
    predict: Path
    state: Path
    model: str
    criterion: str
    optimizer: str
    scan: bool  # whether a call takes several steps
    named: dict[str, Named]
    tensors: tuple[Tensor, ...]
    numbers: tuple[Number, ...]
    batch: tuple[Port, ...]
    loss: Port
    gradients: dict[str, Port]  # a parameter's name -> the output
    predict_state: tuple[str, ...]
    predict_batch: tuple[Port, ...]
    predictions: tuple[Port, ...]
    about: dict[str, Any] = field(repr=False)  # all that the file says

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Manifest:
        """path: of the step's .onnx file or of the manifest, which has the same name and ends in .json.

        Raises FileNotFoundError, and ValueError for a file that is no manifest of this version.
        """
        given = Path(path)
        if given.suffix not in (".onnx", ".json"):
            raise ValueError(f"{given}: expected the .onnx file of an exported training step, or its .json manifest")
        if given.name.endswith(".predict.onnx"):
            step = given.name.removesuffix(".predict.onnx")
            raise ValueError(f"{given} is the graph for prediction: give the one of the step, {step}.onnx")
        place = given.with_suffix(".json")
        if not place.exists():
            raise FileNotFoundError(
                f"there is no manifest {place}: step.export_onnx({given.with_suffix('.onnx').name!r}, x, y) writes it "
                "beside the graphs. The files of an export belong in one folder, under the names that they were given"
            )
        try:
            about = json.loads(place.read_bytes())
        except ValueError as error:
            raise ValueError(f"{place} is not JSON: {error}") from error
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise ValueError(f"{place} is no manifest of an exported training step")
        if about.get("version") != VERSION:
            raise ValueError(
                f"{place} is of version {about.get('version')!r} of the format, and this modgrad reads version "
                f"{VERSION}. Use the modgrad that wrote it, {about.get('modgrad')}, or export anew"
            )
        try:
            found = _manifest(place, about)
            _look_through(found)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{place} is damaged: {type(error).__name__}: {error}. Export anew") from error
        return found


def _manifest(place: Path, about: dict[str, Any]) -> Manifest:
    predict = about["predict"]
    files: dict[str, Any] = {k: place.parent / Path(about["files"][k]).name for k in ("step", "predict", "state")}
    return Manifest(
        path=place,
        **files,
        model=about["model"],
        criterion=about["criterion"],
        optimizer=about["optimizer"],
        scan=about["steps"] == "scan",
        named={e["name"]: Named(*_port(e, "name"), e["kind"], math.prod(e["shape"])) for e in about["state"]},
        tensors=tuple(
            Tensor(*_port(e, "input"), e["output"], tuple((h["name"], h["offset"]) for h in e["holds"]))
            for e in about["tensors"]
        ),
        numbers=tuple(Number(*_port(e, "input"), e["name"], float(e["value"])) for e in about["numbers"]),
        batch=_ports(about["batch"], "input"),
        loss=Port(*_port(about["loss"], "output")),
        gradients={e["name"]: Port(*_port(e, "output")) for e in about["gradients"]},
        predict_state=tuple(predict["state"]),
        predict_batch=_ports(predict["batch"], "input"),
        predictions=_ports(predict["outputs"], "output"),
        about=about,
    )


def _ports(entries: Sequence[dict[str, Any]], key: str) -> tuple[Port, ...]:
    return tuple(Port(*_port(entry, key)) for entry in entries)


def _port(entry: dict[str, Any], key: str) -> tuple[str, Shape, np.dtype[Any]]:
    return entry[key], tuple(entry["shape"]), np.dtype(entry["dtype"])


def _look_through(manifest: Manifest) -> None:
    """Raise unless every named tensor has a place of its own in the graph's."""
    placed: set[str] = set()
    for tensor in manifest.tensors:
        end = 0
        for name, offset in sorted(tensor.holds, key=lambda held: held[1]):
            named = manifest.named.get(name)
            if named is None or name in placed or named.dtype != tensor.dtype:
                raise ValueError(f"{manifest.path} is damaged: {tensor.name!r} is said to hold {name!r}. Export anew")
            if not end <= offset <= offset + named.size <= math.prod(tensor.sizes()):
                raise ValueError(f"{manifest.path} is damaged: {name!r} does not fit into {tensor.name!r}. Export anew")
            placed.add(name)
            end = offset + named.size
    graph = {tensor.name for tensor in manifest.tensors}
    lost = [*(name for name in manifest.named if name not in placed), *sorted({*manifest.predict_state} - graph)]
    if lost:
        raise ValueError(f"{manifest.path} is damaged: {lost[0]!r} is in no tensor of the graph. Export anew")
