"""The gradients of each convolution in a program, asked of the kernel in one call.

The layers ask for the input's and the weight's apart, each with a stand-in for the tensor that it does not need. Where
a step wants both, one call has both tensors, and puts dL/dy into the kernel's order of memory once.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import GraphModule, Node

aten = torch.ops.aten
_INPUT, _WEIGHT, _BOTH = [True, False, False], [False, True, False], [True, True, False]


def joined(module: GraphModule) -> None:
    """Make one call of the two that take a convolution's gradients."""
    graph = module.graph
    place = {node: i for i, node in enumerate(graph.nodes)}
    calls = graph.find_nodes(op="call_function", target=aten.convolution_backward.default)
    of_weights = {_known(call): call for call in calls if call.args[-1] == _WEIGHT}
    for of_input in [call for call in calls if call.args[-1] == _INPUT]:
        of_weight = of_weights.get(_known(of_input))
        if of_weight is None:
            continue
        grad, _, weight, *options, _ = of_input.args
        input, first = of_weight.args[1], min(of_input, of_weight, key=place.__getitem__)
        if max(place[input], place[weight]) > place[first]:  # made for the later of the two, as by recomputing
            continue
        with graph.inserting_before(first):
            both = graph.call_function(first.target, (grad, input, weight, *options, _BOTH))
        both.meta = {**first.meta, "val": (of_input.meta["val"][0], of_weight.meta["val"][1], None)}
        _replace(of_input, both)
        _replace(of_weight, both)
    graph.eliminate_dead_code()
    module.recompile()


def _known(call: Node) -> tuple[Any, ...]:
    """What the two calls of one convolution share: dL/dy, the shapes of x and w, stride, padding and so on."""
    arguments: Any = call.args
    grad, input, weight, *options, _ = arguments
    return grad, str([input.meta["val"].shape, weight.meta["val"].shape, *options])


def _replace(call: Node, both: Node) -> None:
    for part in list(call.users):
        with both.graph.inserting_after(both):
            same = both.graph.call_function(operator.getitem, (both, part.args[1]))
        same.meta = dict(part.meta)
        part.replace_all_uses_with(same)
        both.graph.erase_node(part)
    both.graph.erase_node(call)
