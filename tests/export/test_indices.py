"""An index out of range is an error in an exported graph too: ONNX would count one below 0 from the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor

from modgrad import nn, optim
from modgrad.export.onnx.graph import Graph, model
from modgrad.export.onnx.lower import decompositions, lowered
from modgrad.interop.exporting import Program
from modgrad.step import TrainingStep
from modgrad.step.locate import paths
from modgrad.step.program import exporting
from tests.export.running import exported, run

aten: Any = torch.ops.aten
SIZE = 4
REFUSED = "(?i)index|indice"  # onnxruntime's words
# Functions of x (4, 3), values (2, 3) and an index (2,)
LOOKUPS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "gather": lambda x, v, i: x.gather(0, wide(i)),
    "index_select": lambda x, v, i: x.index_select(0, i),
    "embedding": lambda x, v, i: aten.embedding(x, i),
    "embedding, int32": lambda x, v, i: aten.embedding(x, i.int()),
    "scatter": lambda x, v, i: x.scatter(0, wide(i), v),
    "scatter of a number": lambda x, v, i: x.scatter(0, wide(i), 2.0),
    "scatter_add": lambda x, v, i: x.scatter_add(0, wide(i), v),
    "scatter_reduce": lambda x, v, i: x.scatter_reduce(0, wide(i), v, "amax"),
    "index_add": lambda x, v, i: x.index_add(0, i, v),
    "index_copy": lambda x, v, i: x.index_copy(0, i, v),
}
# By which PyTorch counts from the end
FROM_THE_END: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "brackets": lambda x, v, i: x[i],
    "index_put": lambda x, v, i: x.index_put((i,), v),
    "index_fill": lambda x, v, i: x.index_fill(0, i, 2.0),
    "take": lambda x, v, i: x.take(i),
}


def wide(i: Tensor) -> Tensor:
    return i.unsqueeze(1).expand(2, 3)


@pytest.fixture(scope="module")
def looked_up() -> Callable[[str, list[int]], Tensor]:
    """(name, index) -> what onnxruntime gives: all functions in one graph, each with an index of its own."""
    functions = {**LOOKUPS, **FROM_THE_END}
    torch.manual_seed(0)
    x, values = torch.randn(SIZE, 3), torch.randn(2, 3)
    program = Program(lambda given, indices: [f(*given, i) for f, i in zip(functions.values(), indices, strict=True)])
    given = [x, values], [torch.tensor([0, 1 + n % 3]) for n in range(len(functions))]
    with exporting(paths({})):
        exported_program = torch.export.export(program, given, strict=False).run_decompositions(decompositions())
    graph = Graph()
    results = lowered(exported_program, ["x", "values", *functions], graph)
    named = {f"{name}: result": value for name, value in zip(functions, results, strict=True)}
    outputs = {name: (value, list(value.shape or ())) for name, value in named.items()}
    inputs = [(name, list(value.shape or ())) for name, value in graph.inputs.items()]
    proto = model(graph.proto("lookups", inputs, outputs)).SerializeToString()
    session = onnxruntime.InferenceSession(proto)

    def look_up(name: str, index: list[int]) -> Tensor:
        given = {other: torch.tensor(index if other == name else [0, 1]) for other in functions}
        found = run(session, {"x": x, "values": values, **given})[f"{name}: result"]
        torch.testing.assert_close(found, functions[name](x, values, torch.tensor(index)))
        return found

    return look_up


@pytest.mark.parametrize("name", LOOKUPS)
def test_lookups(name: str, looked_up: Callable[[str, list[int]], Tensor]) -> None:
    looked_up(name, [3, 2])
    for wrong in (-1, -SIZE, SIZE, torch.iinfo(torch.int32).min):
        with pytest.raises(Exception, match=REFUSED):
            looked_up(name, [2, wrong])


@pytest.mark.parametrize("name", FROM_THE_END)
def test_lookups_that_count_from_the_end(name: str, looked_up: Callable[[str, list[int]], Tensor]) -> None:
    assert torch.equal(looked_up(name, [2, -1]), looked_up(name, [2, 11 if name == "take" else 3]))


CRITERIA: dict[str, Callable[[], nn.Module]] = {
    "cross entropy": nn.CrossEntropyLoss,
    "weighted": lambda: nn.CrossEntropyLoss(weight=torch.tensor([0.5, 1.0, 2.0])),
    "smoothed": lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
    "ignoring -1": lambda: nn.CrossEntropyLoss(ignore_index=-1),
}


@pytest.mark.parametrize("name", CRITERIA)
def test_classes(name: str, tmp_path: Path) -> None:
    """Of the classes 0, 1, 2 and the one that is ignored."""
    torch.manual_seed(0)
    criterion: Any = CRITERIA[name]()
    layer = nn.Linear(2, 3)
    step = TrainingStep(layer, criterion, optim.SGD(layer.parameters(), lr=0.1))
    x, ignored = torch.randn(4, 2), criterion.ignore_index
    files = exported(step, tmp_path, x, torch.tensor([0, 2, 1, ignored]))
    for wrong in (-1, -3, -100, 3):
        if wrong != ignored:
            with pytest.raises(Exception, match=REFUSED):
                files.train(x, torch.tensor([0, 2, 1, wrong]))
    for y in ([ignored, 2, 1, ignored], [0, 1, ignored, 2]):
        batch = x, torch.tensor(y)
        torch.testing.assert_close(files.train(*batch)["loss"], step(*batch), rtol=2e-6, atol=2e-7)


def test_rows_of_an_embedding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 2))
    step = TrainingStep(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1))
    x, y = torch.tensor([[0, 4], [2, 2], [1, 3]]), torch.tensor([0, 1, 1])
    files = exported(step, tmp_path, x, y)
    for wrong in (-1, -5, 5):
        bad = torch.tensor([[0, 4], [2, wrong], [1, 3]])
        for call in (lambda b=bad: files.train(b, y), lambda b=bad: files.predict(b)):
            with pytest.raises(Exception, match=REFUSED):
                call()
    torch.testing.assert_close(files.train(x, y)["loss"], step(x, y), rtol=2e-6, atol=2e-7)
