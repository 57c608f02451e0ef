"""Transfer: a network learns the digits 0 to 4; its body is frozen, and a new head learns 5 to 9 on top of it.

    python examples/transfer_digits.py [--seed 0]

`freeze()` sets grad_f = False on every parameter of the body. Such a parameter wants no gradient, so the body's calls
leave no record and backward ends at the head: freezing spares the work, it does not only throw its result away.

What is shown is how freezing works, not that it pays here: digits are so easy that a body of random weights serves a
new head about as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from resnet_digits import BATCH_SIZE, NB_TEST, WIDTH, ResNet, accuracy, fit, load
from torch import Tensor

from modgrad import nn, optim
from modgrad.helper import train_model


class Figures(NamedTuple):
    source: float  # accuracy on 0 to 4, in percent, as the ones below
    before: float  # on 5 to 9, with the new head as it was initialised
    after: float  # on 5 to 9, with the new head trained
    backward_learning: int  # calls of backward in the body while it was trained
    backward_frozen: int  # and while it was frozen


class Transfer(nn.Module):
    """A frozen body and a new head."""

    def __init__(self, body: nn.Module, nb_classes: int) -> None:
        super().__init__()
        self.body = body.freeze()  # (N, 1, 8, 8) to (N, 2 WIDTH, 4, 4)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(2 * WIDTH * 4 * 4, nb_classes))  # (N, nb_classes)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.body(x))

    def train(self, mode: bool = True) -> Transfer:
        super().train(mode)
        self.body.eval()  # or BatchNorm's running statistics, which are no parameters, would go on moving
        return self


def count_backward(module: nn.Module) -> list[str]:
    """A list that grows by one entry whenever a primitive in `module` is asked for a gradient."""
    calls: list[str] = []

    def counted(method: Callable[..., Any], name: str) -> Callable[..., Any]:
        def count_and_call(*arguments: Any) -> Any:
            calls.append(name)
            return method(*arguments)

        return count_and_call

    for path, part in module.named_modules():
        if isinstance(part, nn.Primitive):
            for method in ("backward", "parameter_gradients"):
                setattr(part, method, counted(getattr(part, method), f"{path}.{method}"))
    return calls


def check(holds: bool, claim: str) -> None:
    if not holds:
        raise RuntimeError(f"does not hold: {claim}")
    print(f"  checked: {claim}")


def main(seed: int = 0, progress: bool = True) -> Figures:
    """Train on 0 to 4, transfer to 5 to 9, and check that the body took no part in the second training."""
    torch.manual_seed(seed)  # of the weights and the batches
    images, digits = load()
    test, low = torch.arange(len(digits)) < NB_TEST, digits < 5

    source = ResNet(nb_classes=5)
    calls = count_backward(source.body)
    fit(source, images[~test & low], digits[~test & low], progress)
    of_source = accuracy(source, images[test & low], digits[test & low])
    learning = len(calls)
    print(f"seed {seed}: trained on 0 to 4: {of_source:.1f} % of the test images right")

    model = Transfer(source.body, nb_classes=5)
    frozen = {name: value.clone() for name, value in model.body.state_dict().items()}
    optimizer, criterion = optim.Adam(model.parameters(), lr=0.01), nn.CrossEntropyLoss()
    inputs, targets = images[~test & ~low], digits[~test & ~low] - 5
    test_inputs, test_targets = images[test & ~low], digits[test & ~low] - 5
    before = accuracy(model, test_inputs, test_targets)
    train_model(model, inputs, targets, optimizer, criterion, 20, BATCH_SIZE, progress=progress, name="new head")
    after = accuracy(model, test_inputs, test_targets)
    print(f"transferred to 5 to 9: {before:.1f} % before the new head was trained, {after:.1f} % after")

    same = all(torch.equal(value, frozen[name]) for name, value in model.body.state_dict().items())
    check(same, f"all {len(frozen)} parameters and statistics of the body are bit for bit what they were")
    check(type(model.body(images[:1])) is Tensor, "the body's output is a plain tensor: its calls left no record")
    check(learning > 0, f"while the body was trained, backward asked its primitives {learning} times")
    check(len(calls) == learning, "while it was frozen, not once")
    check(all(p.grad_v is None for p in model.body.parameters()), "no parameter of the body has a gradient")
    check(all(p.grad_v is not None for p in model.head.parameters()), "every parameter of the head has one")
    return Figures(of_source, before, after, learning, len(calls) - learning)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a network on the digits 0 to 4 and transfer it to 5 to 9.")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the batches (default: 0)")
    torch.set_num_threads(1)  # the images are small: more threads mostly wait for each other
    main(**vars(parser.parse_args()))
