"""Numbers that a program computes once, kept from being computed anew for every element that they meet.

The compiler fuses what makes a number into the loops that use it, as Adam's 1 - beta^step into the update of each
parameter; there it stays, one power for every vector of elements, since powers may set errno. A reduction is where the
compiler stops fusing: the greatest of a number's copies is that number.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

aten = torch.ops.aten
_POWERS = {aten.pow.Tensor_Tensor, aten.pow.Scalar, aten.pow.Tensor_Scalar, aten.exp.default, aten.log.default}
_COPIES = 16  # more than the compiler would write out one by one


def apart(module: GraphModule) -> None:
    """Compute each number before the loops that use it."""
    graph = module.graph
    for node in list(graph.nodes):
        if node.op != "call_function" or not _is_number(node) or not _is_dear(node):
            continue
        users = [user for user in node.users if user.op == "call_function" and not _is_number(user)]
        if not users:
            continue
        with graph.inserting_after(node):
            copies = graph.call_function(aten.expand.default, (node, [_COPIES]))
        with graph.inserting_after(copies):
            number = graph.call_function(aten.amax.default, (copies, [0]))
        copies.meta["val"] = node.meta["val"].expand(_COPIES)
        number.meta["val"] = node.meta["val"]
        for user in users:
            user.replace_input_with(node, number)
    module.recompile()


def _is_number(node: Node) -> bool:
    value: Any = node.meta.get("val")
    return isinstance(value, Tensor) and not value.dim() and value.is_floating_point()


def _is_dear(node: Node) -> bool:
    """Whether a power is taken on the way to it, from numbers alone."""
    inputs = node.all_input_nodes
    if not all(map(_is_number, inputs)):
        return False
    return node.target in _POWERS or any(x.op == "call_function" and _is_dear(x) for x in inputs)
