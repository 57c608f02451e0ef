"""modgrad's main executable: is a point inside of the disc? Two models learn it, each with two optimizers.

    python test.py                          a table of training and test errors
    python test.py --plot picture.png       and a picture of what was learnt

Sequential is put together from modgrad's layers. Custom is the same network as one's own module, around a ReLU that
is one's own too, derivative and all: everything that one needs to know to write a layer is in the class ReLU below.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modgrad import nn, optim
from modgrad.helper import compute_nb_errors, generate_dataset, normalize, train_model

torch.set_grad_enabled(False)  # PyTorch's autograd is off from here on: every gradient below is modgrad's own

NB_POINTS = 1000  # for training, and as many for the test
HIDDEN = 256
BATCH_SIZE = 250


class ReLU(nn.Primitive):
    """y = max(x, 0), and therefore dL/dx = dL/dy where x > 0, else 0."""

    def forward(self, call: nn.Call, x: Tensor) -> Tensor:
        call.save(x)  # for backward; the call keeps it, not the layer, which may thus be called many times
        return torch.where(x > 0, x, 0)

    def backward(self, call: nn.Call, grad: Tensor) -> Tensor:  # grad is dL/dy
        (x,) = call.saved
        return torch.where(x > 0, grad, 0)


class Custom(nn.Module):
    """A module made of others only has a forward: modgrad finds the way back through it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(2, HIDDEN)
        self.relu = ReLU()
        self.output = nn.Linear(HIDDEN, 2)

    def forward(self, x: Tensor) -> Any:  # (N, 2)
        x = self.relu(self.hidden(x))  # (N, HIDDEN)
        return self.output(x)  # (N, 2): a score for each class


def sequential() -> nn.Module:
    return nn.Sequential(nn.Linear(2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2))


MODELS: dict[str, Callable[[], nn.Module]] = {"Sequential": sequential, "Custom": Custom}
OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], optim.Optimizer]] = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9),
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.01),
}


class Data(NamedTuple):
    """Points as they were drawn (for the picture), as the models see them, and their classes."""

    points: Tensor  # (NB_POINTS, 2)
    inputs: Tensor  # (NB_POINTS, 2), normalized
    targets: Tensor  # (NB_POINTS)


class Row(NamedTuple):
    """One line of the table."""

    model_name: str
    optimizer_name: str
    train_errors: int
    test_errors: int
    seconds: float
    losses: list[float]  # of each epoch
    model: nn.Module


def generate_data(generator: torch.Generator) -> tuple[Data, Data]:
    train_points, train_targets = generate_dataset(NB_POINTS, generator)
    test_points, test_targets = generate_dataset(NB_POINTS, generator)
    train_inputs, test_inputs = normalize(train_points, test_points)
    return Data(train_points, train_inputs, train_targets), Data(test_points, test_inputs, test_targets)


def train_row(
    model_name: str, optimizer_name: str, train: Data, test: Data, *, epochs: int, generator: torch.Generator
) -> Row:
    start = time.perf_counter()
    model = MODELS[model_name]()
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    criterion = nn.CrossEntropyLoss()
    name = f"{model_name}, {optimizer_name}"
    history = train_model(
        model, train.inputs, train.targets, optimizer, criterion, epochs, BATCH_SIZE, generator, name=name
    )
    train_errors = compute_nb_errors(model, train.inputs, train.targets)
    test_errors = compute_nb_errors(model, test.inputs, test.targets)
    seconds = time.perf_counter() - start
    return Row(model_name, optimizer_name, train_errors, test_errors, seconds, history["loss"], model)


def print_table(rows: list[Row]) -> None:
    print(f"{'model':<12}{'optimizer':<11}{'training errors':>16}{'test errors':>16}{'seconds':>10}")
    for row in rows:
        train, test = (f"{n:8} = {100 * n / NB_POINTS:3.1f} %" for n in (row.train_errors, row.test_errors))
        print(f"{row.model_name:<12}{row.optimizer_name:<11}{train:>16}{test:>16}{row.seconds:10.2f}")
    print(f"{'total':<55}{sum(row.seconds for row in rows):10.2f}")


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description="Train two models with two optimizers each; print their errors.")
    parser.add_argument("--seed", type=int, default=0, help="of the points, the weights and the batches (default: 0)")
    parser.add_argument("--epochs", type=int, default=400, help="how often to go through the points (default: 400)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw what was learnt, as .png, .pdf or .svg")
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs {options.epochs}: expected at least 1")
    if options.plot is not None:  # before the work, not after it
        _refuse_plot(options.plot, parser)

    torch.set_num_threads(1)  # the matrices are small: more threads mostly wait for each other
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    train, test = generate_data(generator)

    rows: list[Row] = []
    for model_name, optimizer_name in product(MODELS, OPTIMIZERS):
        rows.append(train_row(model_name, optimizer_name, train, test, epochs=options.epochs, generator=generator))
        if len(rows[-1].losses) < options.epochs:  # Ctrl-C, which train_model has told of
            break
    print(f"seed {options.seed}: {NB_POINTS} points to train on, {NB_POINTS} to test, {options.epochs} epochs\n")
    print_table(rows)
    if options.plot is not None:
        plot(rows, train, test, options.plot)
        print(f"\npicture: {options.plot}")
    if len(rows[-1].losses) < options.epochs:
        raise SystemExit(130)  # as a program says that ended by Ctrl-C
    return rows


def _refuse_plot(file: Path, parser: argparse.ArgumentParser) -> None:
    """End with a message where a picture cannot be drawn to `file`."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        parser.error("--plot needs matplotlib: pip install modgrad[plots]")
    formats = Figure().canvas.get_supported_filetypes()
    if file.suffix[1:].lower() not in formats:
        parser.error(f"--plot {file}: expected a name that ends with one of .{', .'.join(formats)}")
    if not file.parent.is_dir():
        parser.error(f"--plot {file}: there is no folder {file.parent}")


def plot(rows: list[Row], train: Data, test: Data, file: Path) -> None:
    """Above, what each model takes for inside, under the test points; below, the loss of each epoch."""
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import LogLocator  # noqa: PLC0415

    blue, red, ink = "#2f6db5", "#d1495b", "#222222"
    figure = Figure(figsize=(4 * len(rows), 8.5), layout="constrained")
    grid = figure.add_gridspec(2, len(rows), height_ratios=[1.2, 1])
    side = torch.linspace(0, 1, 300)
    x, y = torch.meshgrid(side, side, indexing="xy")  # (300, 300) each
    _, inputs = normalize(train.points, torch.stack([x, y], -1).reshape(-1, 2))  # (90000, 2)
    turn = torch.linspace(0, 2 * math.pi, 200)
    disc = 0.5 + torch.stack([turn.cos(), turn.sin()]) / math.sqrt(2 * math.pi)  # (2, 200)

    for column, row in enumerate(rows):
        row.model.eval()
        with nn.no_grad():
            inside = torch.softmax(row.model(inputs), 1)[:, 1].reshape(x.shape)
            wrong = row.model(test.inputs).argmax(1) != test.targets
        axes = figure.add_subplot(grid[0, column])
        axes.contourf(x, y, inside, levels=[0, 0.5, 1], colors=["#dbe7f5", "#f8dfe2"])
        axes.contour(x, y, inside, levels=[0.5], colors=ink, linewidths=1.6)
        axes.plot([], [], color=ink, linewidth=1.6, label="learnt boundary")  # for the legend
        axes.plot(disc[0], disc[1], "--", color="#1b7f4d", linewidth=1.6, label="the disc")
        for of_class, colour, label in ((0, blue, "outside"), (1, red, "inside")):
            points = test.points[test.targets == of_class]
            axes.scatter(points[:, 0], points[:, 1], s=6, color=colour, linewidths=0, label=label)
        points = test.points[wrong]
        axes.scatter(points[:, 0], points[:, 1], s=45, facecolors="none", edgecolors=ink, label="misclassified")
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], aspect="equal")
        axes.set_title(f"{row.model_name}, {row.optimizer_name}\ntest error {100 * row.test_errors / NB_POINTS:.1f} %")
        if column == 0:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)

    axes = figure.add_subplot(grid[1, :])
    for row in rows:
        colour, style = blue if row.optimizer_name == "SGD" else red, "-" if row.model_name == "Sequential" else ":"
        label = f"{row.model_name}, {row.optimizer_name}"
        marker = "." if len(row.losses) < 30 else None
        axes.plot(range(1, len(row.losses) + 1), row.losses, style, marker=marker, color=colour, label=label)
    axes.set(yscale="log", xlabel="epoch", ylabel="cross entropy", title="Training loss")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.margins(x=0.005)
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
