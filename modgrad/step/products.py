"""Large products of matrices in a program, given to the faster of PyTorch's two libraries: see functional.product."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx import GraphModule, Node

from modgrad.functional.product import prefers_onednn, worth

aten = torch.ops.aten


def chosen(module: GraphModule) -> None:
    """Let oneDNN do those products for which it is worth it."""
    if not prefers_onednn():
        return
    graph = module.graph
    for node in list(graph.nodes):
        operands = _operands(node)
        if operands is None:
            continue
        a, b, bias = operands  # a (n, k), b (m, k): the product is a b^T
        rows, inner, columns = (*map(_size, a.meta["val"].shape), _size(b.meta["val"].shape[0]))[:3]
        if a.meta["val"].dtype is torch.float32 and worth(rows, columns, inner):
            with graph.inserting_before(node):
                product = graph.call_function(torch.ops.mkldnn._linear_pointwise.default, (a, b, bias, "none", [], ""))
            product.meta = dict(node.meta)
            node.replace_all_uses_with(product)
            graph.erase_node(node)
    module.recompile()


def _operands(node: Node) -> tuple[Node, Node, Node | None] | None:
    """a, b and c, if the node is a b^T + c."""
    arguments: Any = node.args
    if node.target is aten.linear.default:
        a, b, *bias = arguments
        return (a, b, bias[0] if bias else None) if a.meta["val"].dim() == 2 else None
    if node.target is aten.mm.default:
        a, b = arguments
        return a, _transposed(node, b), None
    if node.target is aten.addmm.default and not node.kwargs and arguments[0].meta["val"].dim() == 1:
        bias, a, b = arguments
        return a, _transposed(node, b), bias
    return None


def _transposed(node: Node, matrix: Node) -> Node:
    with node.graph.inserting_before(node):
        transposed = node.graph.call_function(aten.permute.default, (matrix, [1, 0]))
    transposed.meta["val"] = matrix.meta["val"].t()
    return transposed


def _size(size: Any) -> int:
    """A dimension's size, or what it was in the batch that was traced."""
    return size if isinstance(size, int) else size.node.hint


@contextmanager
def lowered() -> Iterator[None]:
    """Inside, PyTorch's compiler takes oneDNN's product for what it is: by itself it expects a constant weight."""
    from torch._inductor import lowering, mkldnn_ir  # noqa: PLC0415 (takes seconds to import)
    from torch._inductor.fx_passes import mkldnn_fusion  # noqa: PLC0415
    from torch._inductor.ir import TensorBox  # noqa: PLC0415

    mkldnn_fusion._mkldnn_fusion_init()
    operation = torch.ops.mkldnn._linear_pointwise.default
    before = lowering.lowerings[operation]

    extern: Any = mkldnn_ir

    def lower(a: Any, b: Any, bias: Any, attribute: str, scalars: Any, algorithm: str) -> Any:
        """As LinearUnary.create, but for the copies of transposed matrices, which oneDNN takes as they are."""
        inputs = [extern.ExternKernelAlloc.realize_input(x) for x in (a, b)]
        constants: list[Any] = [attribute, [-1], algorithm]
        if bias is None:
            constants.insert(0, None)
        else:
            inputs.append(extern.ExternKernelAlloc.realize_input(bias))
        size = [a.get_size()[0], b.get_size()[0]]
        layout = extern.FixedLayout(device=a.get_device(), dtype=a.get_dtype(), size=size)
        return TensorBox.create(extern._create_output_node(extern.LinearUnary(layout, inputs, constants)))

    lowering.lowerings[operation] = lower
    try:
        yield
    finally:
        lowering.lowerings[operation] = before
