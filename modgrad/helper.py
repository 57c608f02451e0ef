"""What the main executable and the examples share: a data set to learn, its preparation, the training loop, a score."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from numbers import Integral
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from modgrad.graph import Module, Variable, no_grad
from modgrad.graph.errors import describe

__all__ = ["compute_nb_errors", "generate_dataset", "normalize", "one_hot_encoding", "train_model"]


class Updates(Protocol):
    """What `train_model` asks of an optimizer: modgrad's own have it, and so do those made for PyTorch."""

    def zero_grad(self) -> object: ...

    def step(self) -> object: ...


def generate_dataset(nb_points: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Points drawn uniformly from the unit square, and whether each lies in a disc that covers half of it.

    The disc is centred at (1/2, 1/2) and has the radius 1 / sqrt(2 pi), so its area is 1/2.
    Returns inputs (nb_points, 2), float, and targets (nb_points), int64: 1 inside of the disc, 0 outside.

    >>> inputs, targets = generate_dataset(1000, torch.Generator().manual_seed(0))
    >>> inputs.shape, targets.shape, targets.dtype
    (torch.Size([1000, 2]), torch.Size([1000]), torch.int64)
    """
    _refuse_count("generate_dataset", "nb_points", nb_points)
    device = "cpu" if generator is None else generator.device
    inputs = torch.rand(nb_points, 2, generator=generator, device=device)
    targets = (inputs - 0.5).square().sum(1) < 1 / (2 * math.pi)
    return inputs, targets.long()


def normalize(train_inputs: Tensor, test_inputs: Tensor) -> tuple[Tensor, Tensor]:
    """(x - mean) / std of each column, with the mean and std of the training set for both: nothing leaks from the test.

    train_inputs (n, ...), test_inputs (m, ...), floating-point. A column that is constant in training is only centred.

    >>> normalize(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.tensor([[2.0, 6.0]]))
    (tensor([[-1.,  0.],
            [ 1.,  0.]]), tensor([[0., 1.]]))
    """
    for name, inputs in (("train_inputs", train_inputs), ("test_inputs", test_inputs)):
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            raise TypeError(f"normalize: {name} is {describe(inputs)}: write {name}.float()")
    if train_inputs.dim() == 0 or len(train_inputs) == 0:
        raise ValueError(f"normalize: train_inputs is {describe(train_inputs)}: give at least one sample, as (n, ...)")
    if train_inputs.shape[1:] != test_inputs.shape[1:] or test_inputs.dim() == 0:
        raise ValueError(
            f"normalize: train_inputs has samples of shape {tuple(train_inputs.shape[1:])}, test_inputs is "
            f"{describe(test_inputs)}: give both the same columns"
        )
    # Together they come by Welford's method, in which the mean of a constant column is exactly its value, and its std
    # exactly 0; the mean by itself would be rounded.
    std, mean = torch.std_mean(train_inputs, 0, correction=0)
    std = torch.where(std == 0, 1, std)
    return (train_inputs - mean) / std, (test_inputs - mean) / std


def one_hot_encoding(targets: Tensor, nb_classes: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """y_ij = 1 where j is the class of sample i, else 0.

    targets (n): integers in 0 .. nb_classes - 1. nb_classes: one more than the largest target, if not given.
    Returns (n, nb_classes), of `dtype` (torch's default one, if not given).

    >>> one_hot_encoding(torch.tensor([0, 2]), nb_classes=3)
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """
    if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.is_complex():
        raise TypeError(f"one_hot_encoding: targets is {describe(targets)}: classes are integers, write targets.long()")
    if targets.dim() != 1:
        raise ValueError(f"one_hot_encoding: targets has shape {tuple(targets.shape)}: give one class a sample, as (n)")
    if nb_classes is None:
        if len(targets) == 0:
            raise ValueError("one_hot_encoding: no targets to count the classes of: write nb_classes=...")
        nb_classes = int(targets.max()) + 1
        _refuse_classes(targets, max(nb_classes, 1))
    else:
        _refuse_count("one_hot_encoding", "nb_classes", nb_classes)
        _refuse_classes(targets, nb_classes)
    encoded = torch.zeros(len(targets), nb_classes, dtype=dtype or torch.get_default_dtype(), device=targets.device)
    return encoded.scatter(1, targets.long().unsqueeze(1), 1.0)


def _refuse_classes(targets: Tensor, nb_classes: int) -> None:
    wrong = (targets < 0) | (targets >= nb_classes)
    if wrong.any():
        position = int(wrong.nonzero()[0])
        raise ValueError(
            f"one_hot_encoding: targets[{position}] is {int(targets[position])}, and with nb_classes={nb_classes} "
            f"classes are 0 to {nb_classes - 1}: count classes from 0, or write a larger nb_classes"
        )


def train_model(
    model: Module,
    inputs: Tensor,
    targets: Tensor,
    optimizer: Updates,
    criterion: Callable[[Any, Tensor], Any],
    epochs: int,
    batch_size: int,
    generator: torch.Generator | None = None,
    *,
    progress: bool = True,
    name: str = "",
) -> dict[str, list[float]]:
    """Train `model` on mini-batches, shuffled anew in each epoch by `generator`, and leave it in training mode.

    inputs (n, ...), targets (n, ...); criterion(output, target) gives the mean loss of a batch, as a scalar.
    progress: whether to show a progress bar on stderr, which `name` stands before.
    Ctrl-C ends the training early, with the model as it then is.
    Returns {"loss": the mean over all samples for each epoch that was finished}.
    """
    _refuse_data("train_model", model, inputs, targets)
    _refuse_count("train_model", "epochs", epochs)
    _refuse_count("train_model", "batch_size", batch_size)
    _refuse_stranger(model, optimizer)
    model.train()
    history: dict[str, list[float]] = {"loss": []}
    heading = f"{name}: " if name else ""
    batches = math.ceil(len(inputs) / batch_size)
    try:
        with tqdm(total=epochs * batches, unit="batch", disable=not progress) as bar:
            for epoch in range(epochs):
                bar.set_description(f"{heading}epoch {epoch + 1}/{epochs}", refresh=False)
                losses: list[tuple[Tensor, int]] = []
                for chosen in torch.split(_shuffled(inputs, generator), batch_size):
                    loss = _step(model, inputs[chosen], targets[chosen], optimizer, criterion)
                    losses.append((loss, len(chosen)))
                    if bar.update():  # it was drawn: only so often is it worth waiting for a device's number
                        bar.set_postfix_str(f"loss {loss.item():.4f}", refresh=False)
                history["loss"].append(sum(loss.item() * size for loss, size in losses) / len(inputs))
                bar.set_postfix_str(f"loss {history['loss'][-1]:.4f}", refresh=False)
    except KeyboardInterrupt:
        optimizer.zero_grad()  # what a half-finished step gathered
        finished = len(history["loss"])
        tqdm.write(f"{heading}training interrupted, {finished} of {epochs} epochs finished", file=sys.stderr)
    return history


def _shuffled(inputs: Tensor, generator: torch.Generator | None) -> Tensor:
    """Where to find the samples, in random order."""
    device = "cpu" if generator is None else generator.device
    return torch.randperm(len(inputs), generator=generator, device=device).to(inputs.device)


def _step(
    model: Module, inputs: Tensor, targets: Tensor, optimizer: Updates, criterion: Callable[[Any, Tensor], Any]
) -> Tensor:
    """Train on one batch; its loss."""
    optimizer.zero_grad()
    loss = criterion(model(inputs), targets)
    if not isinstance(loss, Variable):
        raise ValueError(
            f"train_model: the loss is {describe(loss)}, which nothing to be trained led to: unfreeze() what is to be "
            "trained, leave nn.no_grad(), or mend the model or the criterion, which detach it"
        )
    loss.backward()
    optimizer.step()
    return loss.detach()


def compute_nb_errors(model: Module, inputs: Tensor, targets: Tensor, batch_size: int = 1000) -> int:
    """How many samples `model` gives the highest score to a wrong class.

    inputs (n, ...), targets (n): classes, or (n, C): one-hot; model(inputs) (n, C): scores.
    Evaluates in evaluation mode without recording, in batches, and leaves every module in the mode it was in.
    A score that is not a number (NaN) is an error.
    """
    _refuse_data("compute_nb_errors", model, inputs, targets)
    _refuse_count("compute_nb_errors", "batch_size", batch_size)
    modes = [(module, module.training) for module in model.modules()]
    errors = 0
    try:
        model.eval()
        with no_grad():
            for some, wanted in zip(torch.split(inputs, batch_size), torch.split(targets, batch_size), strict=True):
                errors += _count_errors(model(some), wanted)
    finally:
        for module, training in modes:
            module.training = training
    return errors


def _count_errors(scores: Tensor, targets: Tensor) -> int:
    if not isinstance(scores, Tensor) or scores.dim() != 2 or scores.shape[1] < 2:
        raise ValueError(
            f"compute_nb_errors: the model's output is {describe(scores)}: expected a score for each of two or more "
            "classes, as (n, C)"
        )
    if targets.dim() == 2 and targets.shape == scores.shape:
        targets = targets.argmax(1)
    elif targets.shape != scores.shape[:1] or targets.is_floating_point():
        raise ValueError(
            f"compute_nb_errors: targets of a batch are {describe(targets)}, the model's output is {describe(scores)}: "
            f"expected classes (n), integers, or a one-hot encoding (n, {scores.shape[1]})"
        )
    return int(((scores.argmax(1) != targets) | scores.isnan().any(1)).sum())


def _refuse_data(function: str, model: object, inputs: object, targets: object) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"{function}: model is a {type(model).__name__}, expected an nn.Module")
    for name, value in (("inputs", inputs), ("targets", targets)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{function}: {name} is a {type(value).__name__}: write torch.as_tensor({name})")
        if value.dim() == 0 or len(value) == 0:
            raise ValueError(f"{function}: {name} is empty, of shape {tuple(value.shape)}: give at least one sample")
    assert isinstance(inputs, Tensor)  # for the type checker, as the line below
    assert isinstance(targets, Tensor)
    if len(inputs) != len(targets):
        raise ValueError(
            f"{function}: {len(inputs)} inputs and {len(targets)} targets: give one target for each input, in order"
        )


def _refuse_count(function: str, name: str, value: object) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{function}: {name} is {describe(value)}: expected a whole number, as {name}=10")
    if value < 1:
        raise ValueError(f"{function}: {name} is {value}: expected at least 1, as {name}=10")


def _refuse_stranger(model: Module, optimizer: Updates) -> None:
    """Raise if `optimizer` updates nothing of `model`, whose training would do nothing in silence."""
    groups = getattr(optimizer, "param_groups", None)
    if not (callable(getattr(optimizer, "step", None)) and callable(getattr(optimizer, "zero_grad", None))):
        raise TypeError(f"train_model: optimizer is {describe(optimizer)}, expected one with zero_grad() and step()")
    if groups is None:
        return
    own = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in own for group in groups for parameter in group["params"]):
        raise ValueError(
            f"train_model: {type(optimizer).__name__} updates no parameter of this {type(model).__name__}: make it "
            "from the model that it is to train, as optim.SGD(model.parameters(), lr=0.1)"
        )
