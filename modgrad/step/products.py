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
        rows, inner, columns = (*map(size, a.meta["val"].shape), size(b.meta["val"].shape[0]))[:3]
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


def size(size: Any) -> int:
    """A dimension's size, or what it was in the batch that was traced."""
    return size if isinstance(size, int) else size.node.hint


@contextmanager
def lowered() -> Iterator[None]:
    """Inside, PyTorch's compiler takes oneDNN's products for what they are: by itself it expects constant weights.

    As its own LinearUnary.create and LinearBinary.create, but for the copies of transposed matrices, which oneDNN takes
    as they are.
    """
    from torch._inductor import lowering, mkldnn_ir  # noqa: PLC0415 (takes seconds to import)
    from torch._inductor.fx_passes import mkldnn_fusion  # noqa: PLC0415
    from torch._inductor.ir import TensorBox  # noqa: PLC0415

    extern: Any = mkldnn_ir
    realized = extern.ExternKernelAlloc.realize_input

    def node(kind: Any, a: Any, b: Any, inputs: list[Any], bias: Any, constants: list[Any]) -> Any:
        inputs = [realized(x) for x in inputs]
        if bias is None:
            constants = [None, *constants]
        else:
            inputs.append(realized(bias))
        size = [a.get_size()[0], b.get_size()[0]]
        layout = extern.FixedLayout(device=a.get_device(), dtype=a.get_dtype(), size=size)
        return TensorBox.create(extern._create_output_node(kind(layout, inputs, constants)))

    def unary(a: Any, b: Any, bias: Any, attribute: str, scalars: Any, algorithm: str) -> Any:
        return node(extern.LinearUnary, a, b, [a, b], bias, [attribute, scalars or [-1], algorithm])

    def binary(a: Any, other: Any, b: Any, bias: Any, attribute: str) -> Any:
        return node(extern.LinearBinary, a, b, [a, other, b], bias, [attribute])

    mkldnn_fusion._mkldnn_fusion_init()  # which registers those that these replace
    operation = torch.ops.mkldnn._linear_pointwise
    ours: dict[Any, Any] = {operation.default: unary, operation.binary: binary}
    before: dict[Any, Any] = {overload: lowering.lowerings[overload] for overload in ours}
    lowering.lowerings.update(ours)
    try:
        yield
    finally:
        lowering.lowerings.update(before)
