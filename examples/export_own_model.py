"""A model of one's own, exported with its training step, and trained where there is no PyTorch.

    python examples/export_own_model.py [--folder page] [--seed 0]

The model has an activation of its own, whose derivative is stated here and goes into the graph with everything else.
`modgrad export examples/export_own_model.py page/own.onnx` writes the same files, since `training_step` has the name
that the command looks for. docs/export.md goes on from here to a page in the browser.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import modgrad
from modgrad import nn, optim
from modgrad.export import OnnxTrainer
from modgrad.helper import generate_dataset
from modgrad.step import TrainingStep

EPOCHS, BATCH_SIZE = 200, 50


class Square(nn.Primitive):
    """y = x^2, dL/dx = 2 x dL/dy.   x, y: any shape, alike."""

    def forward(self, call: Any, x: Tensor) -> Tensor:
        call.save(x)
        return x * x

    def backward(self, call: Any, grad: Tensor) -> Tensor:
        (x,) = call.saved
        return 2 * x * grad


class Net(nn.Module):
    """Points (N, 2) -> scores (N, 2) of being outside and inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 25)
        self.square = Square()
        self.middle = nn.Linear(25, 25)
        self.outer = nn.Linear(25, 2)

    def forward(self, x: Tensor) -> Any:
        y = self.square(self.inner(x))
        return self.outer(torch.relu(self.middle(y)) + y)


def training_step(seed: int = 0) -> tuple[TrainingStep, Tensor, Tensor]:
    """The step, and a batch for it: its values serve the export's own check only."""
    torch.manual_seed(seed)
    model = Net()
    step = TrainingStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.003))
    return step, *generate_dataset(BATCH_SIZE)


class Figures(NamedTuple):
    errors: float  # of the test points that the exported model has wrong, in percent
    difference: float  # of a parameter to the same training by the step itself, the largest


def main(seed: int = 0, folder: Path | None = None) -> Figures:
    if folder is None:
        with tempfile.TemporaryDirectory() as name:
            return main(seed, Path(name))
    step, *batch = training_step(seed)
    folder.mkdir(exist_ok=True)
    step.export_onnx(folder / "own.onnx", *batch)
    print(f"exported to {folder}: " + ", ".join(sorted(file.name for file in folder.glob("own.*"))))

    # From here on numpy and onnxruntime are enough.
    trainer = OnnxTrainer(folder / "own.onnx", threads=1)
    points, classes = (value.numpy() for value in generate_dataset(1000))
    test_points, test_classes = (value.numpy() for value in generate_dataset(1000))
    for _ in range(EPOCHS):
        for i in range(0, len(points), BATCH_SIZE):
            loss = trainer.step(points[i : i + BATCH_SIZE], classes[i : i + BATCH_SIZE])
    errors = 100 * float(np.mean(trainer.predict(test_points).argmax(1) != test_classes))
    print(f"trained by onnxruntime: loss {loss:.4f}, {errors:.1f} % of the test points wrong")
    trainer.save(folder / "trained.safetensors")

    # And back: the same training by the step itself, and what was trained there as the weights of the model here.
    for _ in range(EPOCHS):
        for i in range(0, len(points), BATCH_SIZE):
            step(torch.from_numpy(points[i : i + BATCH_SIZE]), torch.from_numpy(classes[i : i + BATCH_SIZE]))
    state = modgrad.load(folder / "trained.safetensors")
    own = step.model.state_dict()
    difference = max(float((state[name] - value).abs().max()) for name, value in own.items())
    print(f"the same by the step itself: no parameter is further away than {difference:.1e}")
    step.model.load_state_dict({name: state[name] for name in own})
    scores = torch.as_tensor(step.model(torch.from_numpy(test_points))).detach().numpy()
    if not np.allclose(scores, trainer.predict(test_points), rtol=1e-4, atol=1e-4):
        raise RuntimeError("the trained weights give other scores here than there")
    print("loaded into the model here: the same scores")
    return Figures(errors, difference)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="to write to; without it the files are thrown away")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights and the points (default 0)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    main(options.seed, options.folder)
