"""When a parameter's last gradient has arrived: for whoever acts on it during the walk, as a fused update."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from modgrad.graph.call import Call, is_parameter


class Arrivals:
    """Counts, for each parameter, the calls of a graph that may still give it a gradient."""

    def __init__(self, root: Call, arrived: Callable[[Any], None]) -> None:
        """root: the call that the walk starts from. arrived: called with each parameter, once, when it is complete."""
        self.arrived = arrived
        self.parameters: dict[int, Any] = {}
        self.waiting: Counter[int] = Counter()
        self.seen: dict[int, Call] = {}  # which also keeps their ids their own
        self.grown(root)

    def grown(self, root: Call) -> None:
        """What leads to `root` belongs to the graph too: in the middle of a walk, what has been computed again."""
        for call in _calls(root, self.seen):
            for parameter in _of(call):
                self.parameters[id(parameter)] = parameter
                self.waiting[id(parameter)] += 1

    def left(self, call: Call) -> None:
        """`call` has given its gradients."""
        for parameter in _of(call):
            key = id(parameter)
            self.waiting[key] -= 1
            if not self.waiting[key]:
                self.arrived(parameter)

    def end(self) -> None:
        """The walk is over: what still waits, waits for calls that no gradient reached."""
        for key, count in self.waiting.items():
            if count > 0:
                self.arrived(self.parameters[key])


def _of(call: Call) -> Iterator[Any]:
    """The parameters that `call` may give a gradient, once for each way."""
    yield from call.parameters.values()
    yield from call.within
    for source in call.sources:
        if is_parameter(source):
            yield source


def _calls(root: Call, seen: dict[int, Call]) -> Iterator[Call]:
    """Every call that the graph of `root` holds, once, without those in `seen`; they are entered there."""
    seen[id(root)] = root
    waiting = [root]
    while waiting:
        call = waiting.pop()
        yield call
        for source in call.sources:
            if type(source) is tuple and id(source[0]) not in seen:
                seen[id(source[0])] = source[0]
                waiting.append(source[0])
