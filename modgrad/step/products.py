"""The products of matrices in a program, each given to what does it fastest.

Large ones go to the faster of PyTorch's two libraries: see functional.product. Of small ones the call is what costs,
and what is done around it: a bias is left to the loop that follows, and a product with few columns is a loop itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch.fx import GraphModule, Node

from modgrad.functional.product import prefers_onednn, turned, worth

aten = torch.ops.aten
_FEW = 4  # columns: as measured, a loop over the values of a row beats a call


def chosen(module: GraphModule) -> None:
    """Put the fastest in the place of each product of float32 matrices."""
    graph = module.graph
    for node in list(graph.nodes):
        if node.target is aten.linear.default and node.meta["val"].dim() > 2:
            _flatten(node)
    for node in list(graph.nodes):
        operands = _operands(node)
        if operands is None or node.meta["val"].dtype is not torch.float32 or node.meta["val"].device.type != "cpu":
            continue
        with graph.inserting_before(node):
            replacement = _fastest(node, *operands)
        if replacement is not None:
            replacement.meta = dict(node.meta)
            node.replace_all_uses_with(replacement)
            graph.erase_node(node)
    module.recompile()


def _fastest(node: Node, a: Node, b: Node, bias: Node | None) -> Node | None:
    """What gives a b^T + bias, or None if that is the node itself.   a (n, k), b (m, k)."""
    rows, inner, columns = *map(size, a.meta["val"].shape), size(b.meta["val"].shape[0])
    call = node.graph.call_function
    if prefers_onednn() and worth(rows, columns, inner):
        if bias is None and turned(rows, columns, a.meta["val"]):
            product = call(torch.ops.mkldnn._linear_pointwise.default, (b, a, None, "none", [], ""))
            upright = call(aten.permute.default, (product, [1, 0]))
            return call(aten.clone.default, (upright,), {"memory_format": torch.contiguous_format})
        whole = bias is not None and bias.meta["val"].dim() != 1  # a matrix, that the product is added to
        product = call(torch.ops.mkldnn._linear_pointwise.default, (a, b, None if whole else bias, "none", [], ""))
        return call(aten.add.Tensor, (bias, product)) if whole else product
    if columns <= _FEW and node.target is aten.linear.default:
        terms = call(aten.mul.Tensor, (call(aten.unsqueeze.default, (a, 1)), call(aten.unsqueeze.default, (b, 0))))
        product = call(aten.sum.dim_IntList, (terms, [2]))
        return product if bias is None else call(aten.add.Tensor, (product, bias))
    if bias is None or bias.meta["val"].dim() != 1:
        return None
    # Not an addition: that the compiler would put back into the product.
    product = call(aten.mm.default, (a, call(aten.permute.default, (b, [1, 0]))))
    return call(aten.sub.Tensor, (product, call(aten.neg.default, (bias,))))


def _flatten(node: Node) -> None:
    """Make the affine map of a stack of matrices that of one matrix."""
    a, *rest = cast(Any, node.args)
    shape = node.meta["val"].shape
    sizes = [n if isinstance(n, int) else -1 for n in shape]
    if sizes.count(-1) > 1:
        return
    graph = node.graph
    with graph.inserting_before(node):
        flat = graph.call_function(aten.reshape.default, (a, [-1, a.meta["val"].shape[-1]]))
        product = graph.call_function(aten.linear.default, (flat, *rest))
        result = graph.call_function(aten.reshape.default, (product, sizes))
    flat.meta["val"] = a.meta["val"].flatten(0, -2)
    product.meta = {**node.meta, "val": node.meta["val"].flatten(0, -2)}
    result.meta = dict(node.meta)
    node.replace_all_uses_with(result)
    graph.erase_node(node)


def _operands(node: Node) -> tuple[Node, Node, Node | None] | None:
    """a, b and c, if the node is a b^T + c."""
    arguments: Any = node.args
    if node.target is aten.linear.default:
        a, b, *bias = arguments
        return (a, b, bias[0] if bias else None) if a.meta["val"].dim() == 2 else None
    if node.target is aten.mm.default:
        a, b = arguments
        return a, _transposed(node, b), None
    if node.target is aten.addmm.default and not node.kwargs:
        bias, a, b = arguments
        return a, _transposed(node, b), bias
    return None


def _transposed(node: Node, matrix: Node) -> Node:
    """The transpose of what a product takes, made right before it."""
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
        if attribute == "add":  # which takes oneDNN longer than a loop, and here the loop that follows does it
            return lowering.lowerings[aten.add.Tensor](unary(a, b, bias, "none", [], ""), other)
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
