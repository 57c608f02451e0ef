"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from modgrad.optim.line_search import Point, strong_wolfe
from modgrad.optim.optimizer import Optimizer
from modgrad.optim.rule import given

_plainly = torch._C.DisableTorchFunctionSubclass
_CURVED = 1e-10  # y s from which on a step tells about the curvature


def direction(
    gradient: Tensor, steps: list[Tensor], changes: list[Tensor], inverses: list[float], scale: float
) -> Tensor:
    """-H g, with H the inverse of the Hessian as the last steps s and changes y of the gradient tell; `scale` before.

    H = (1 - r s y^T) H (1 - r y s^T) + r s s^T for each, with r = 1 / (y s)

    gradient, and each of steps and changes, the oldest first: (n,). inverses: r of each. Nocedal 1980; Nocedal & Wright
    2006, algorithm 7.4.
    """
    result, shares = -gradient, []
    for s, y, r in zip(reversed(steps), reversed(changes), reversed(inverses), strict=True):
        share = float(s.dot(result)) * float(r)
        shares.append(share)
        result = result.add(y, alpha=-share)
    result = scale * result
    for s, y, r, share in zip(steps, changes, inverses, reversed(shares), strict=True):
        result = result.add(s, alpha=share - float(y.dot(result)) * float(r))
    return result


class LBFGS(Optimizer):
    """Newton's method with a Hessian from the last steps. Each step takes a closure, and calls it several times.

    >>> from modgrad import nn, optim
    >>> point = nn.Parameter([-1.0, 1.5])
    >>> optimizer = optim.LBFGS([point], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((1 - point[0]) ** 2 + 100 * (point[1] - point[0] ** 2) ** 2)
    ...     loss.backward()
    ...     return loss
    >>> for _ in range(3):
    ...     loss = optimizer.step(closure)
    >>> bool((point.data - 1).abs().max() < 1e-3)
    True

    lr: the length of a step, or where the line search begins. max_iter: iterations in a step. max_eval: calls of the
    closure in a step; None is 5/4 max_iter. tolerance_grad: the largest gradient that is taken for zero.
    tolerance_change: the smallest change of parameters or loss that is worth going on for. history_size: how many steps
    are remembered. line_search_fn: "strong_wolfe", or None for steps of lr.

    Nocedal & Wright 2006, algorithm 7.5. All parameters are one vector, so there is one group only. It decides by the
    values of the loss, and cannot be traced.
    """

    scalars = ()
    unfit = (
        "computes the loss as often as it needs to, by a closure, and decides by its values: write "
        "optimizer.step(closure) in a loop of your own"
    )

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        super().__init__(params, **given(locals()))

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        if self.param_groups:
            raise ValueError("LBFGS takes its parameters as one vector: it has one group only")
        super().add_param_group(param_group)

    def _refuse(self, hyper: Mapping[str, Any]) -> None:
        if hyper["lr"] < 0:
            raise ValueError(f"LBFGS(lr={hyper['lr']}): expected a number from 0 up")
        if hyper["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(f"LBFGS(line_search_fn={hyper['line_search_fn']!r}): expected 'strong_wolfe', or None")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take up to max_iter iterations. closure: computes the loss and the gradients anew. Gives the first loss."""
        if closure is None:
            raise TypeError(
                "LBFGS.step needs a closure that computes loss and gradients: write optimizer.step(closure)"
            )
        return super().step(closure)

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        assert closure is not None
        group = self.param_groups[0]
        lr, tolerance = float(group["lr"]), group["tolerance_change"]
        state = self.state[group["params"][0]]
        first_loss = closure()
        loss, gradient, evaluations = float(first_loss), self._gradient(), 1
        state["func_evals"], state["n_iter"] = state.get("func_evals", 0) + 1, state.get("n_iter", 0)
        if self._is_flat(gradient):
            return first_loss
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            way, previous = self._way(state, gradient), loss
            t = lr if state["n_iter"] > 1 else min(1.0, 1.0 / float(gradient.abs().sum())) * lr
            slope = float(gradient.dot(way))
            state.update(d=way, t=t, prev_flat_grad=gradient, prev_loss=loss)
            if slope > -tolerance:
                break
            more = 0
            if group["line_search_fn"] is not None:
                point, more = self._searched(closure, Point(0.0, loss, gradient, slope), way, t, evaluations)
                t, loss, gradient = point.t, point.loss, point.gradient
                state["t"] = t
                self._move(way, t)
            else:
                self._move(way, t)
                if iteration != group["max_iter"]:
                    loss, gradient, more = float(closure()), self._gradient(), 1
            evaluations += more
            state["func_evals"] += more
            if (
                evaluations >= group["max_eval"]
                or self._is_flat(gradient)
                or float(way.abs().max()) * abs(t) <= tolerance
                or abs(loss - previous) < tolerance
            ):
                break
        return first_loss

    def _way(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        """Where to go from here; the history is brought up to date."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -gradient
        changes, steps, inverses = state["old_dirs"], state["old_stps"], state["ro"]  # y, s and 1 / (y s)
        change, step = gradient - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = float(change.dot(step))
        if curvature > _CURVED:
            for history, new in ((changes, change), (steps, step), (inverses, 1.0 / curvature)):
                if len(history) == self.param_groups[0]["history_size"]:
                    history.pop(0)
                history.append(new)
            state["H_diag"] = curvature / float(change.dot(change))
        return direction(gradient, steps, changes, inverses, float(state["H_diag"]))

    def _searched(
        self, closure: Callable[[], Any], start: Point, way: Tensor, t: float, evaluations: int
    ) -> tuple[Point, int]:
        """A good point on the line from here. The parameters stay where they are."""
        group = self.param_groups[0]
        with _plainly():
            before = [param.clone() for param in group["params"]]

        def evaluate(t: float) -> Point:
            self._move(way, t)
            loss, gradient = float(closure()), self._gradient()
            with _plainly():
                for param, value in zip(group["params"], before, strict=True):
                    param.copy_(value)
            return Point(t, loss, gradient, float(gradient.dot(way)))

        longest = float(way.abs().max())
        most = group["max_eval"] - evaluations
        return strong_wolfe(evaluate, start, t, longest, group["tolerance_change"], most)

    def _is_flat(self, gradient: Tensor) -> bool:
        return float(gradient.abs().max()) <= self.param_groups[0]["tolerance_grad"]

    def _gradient(self) -> Tensor:
        """All gradients as one new vector; zero where there is none, and for what is frozen."""
        with _plainly():
            return torch.cat(
                [
                    (p.grad.to_dense() if p.grad.is_sparse else p.grad).reshape(-1)
                    if p.grad is not None and p.grad_f
                    else p.new_zeros(p.numel())
                    for p in self.param_groups[0]["params"]
                ]
            )

    def _move(self, way: Tensor, t: float) -> None:
        """Add t way to the parameters."""
        with _plainly():
            params = self.param_groups[0]["params"]
            for param, part in zip(params, way.split([p.numel() for p in params]), strict=True):
                if param.grad_f:
                    param.add_(part.view(param.shape), alpha=t)
