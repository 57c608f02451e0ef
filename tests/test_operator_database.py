"""PyTorch's own database of operators: its sample arguments for each, in float64, as functions and as methods.

Values and gradients on Variables are PyTorch's, or the operator is refused by name. Functions of layers
(`torch.nn.functional`) are not among them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

from modgrad import nn

SAMPLES = 10  # of an operator, spread over all that there are

# What has no derivative here, and says so: functions of complex numbers, of singular and eigenvalues and of solutions
# of linear systems; views of memory; what only PyTorch itself calls; random numbers from a distribution's parameters.
REFUSED = {
    *("complex", "polar", "view_as_complex", "cdouble", "cfloat", "chalf", "stft"),
    *("cholesky", "cholesky_inverse", "cholesky_solve", "logdet", "lu", "lu_solve", "lu_unpack", "matrix_exp", "ormqr"),
    *("pca_lowrank", "pinverse", "qr", "svd", "svd_lowrank", "triangular_solve", "norm.nuc"),
    *("alias_copy", "as_strided", "as_strided_copy", "as_strided_scatter"),
    *("diagonal_copy", "expand_copy", "narrow_copy", "permute_copy", "slice", "split_with_sizes_copy", "squeeze_copy"),
    *("t_copy", "transpose_copy", "unbind_copy", "unfold_copy", "unsqueeze_copy", "view_copy"),
    *("_batch_norm_with_update", "_native_batch_norm_legit", "_softmax_backward_data", "_upsample_bilinear2d_aa"),
    *("_segment_reduce.lengths", "_segment_reduce.offsets", "_unsafe_masked_index"),
    *("_unsafe_masked_index_put_accumulate", "max_pool2d_with_indices_backward"),
    *("native_batch_norm", "native_dropout_backward", "native_group_norm", "native_layer_norm"),
    "torch.ops.aten._safe_softmax.default",
    *("fill", "gradient", "nextafter", "normal", "renorm", "to_sparse"),
}
LINALG = {"cross", "diagonal", "matrix_norm", "multi_dot", "norm", "norm.subgradients_at_zero", "vecdot", "vector_norm"}
# Sparse tensors, a change in place: refused in other words; and one whose sample PyTorch itself does not take.
LEFT_OUT = {"sparse.sampled_addmm", "sparse.mm.reduce", "zero_", "as_strided.partial_views"}


def name_of(info: Any) -> str:
    return info.name + ("." + info.variant_test_name if info.variant_test_name else "")


def is_refused(name: str) -> bool:
    family, _, rest = name.partition(".")
    return name in REFUSED or family == "fft" or (family == "linalg" and rest not in LINALG)


ENTRIES = {
    name_of(info): info
    for info in op_db
    if info.supports_dtype(torch.float64, "cpu")
    and info.supports_autograd
    and not info.name.startswith("nn.functional")
    and name_of(info) not in LEFT_OUT
}


def samples(info: Any) -> list[Any]:
    torch.manual_seed(0)
    found = list(info.sample_inputs("cpu", torch.float64, requires_grad=True))
    return found[:: max(1, len(found) // SAMPLES)]


def run(function: Callable[..., Any], sample: Any, leaf: Callable[[Tensor], Any]) -> tuple[list[Any], list[Any]]:
    """The leaves that want a gradient, and the outputs that have one."""
    leaves = []

    def convert(x: Any) -> Any:
        if isinstance(x, Tensor) and x.requires_grad:
            leaves.append(leaf(x.detach().clone()))
            return leaves[-1]
        return x

    input, args, kwargs = tree_map(convert, (sample.input, sample.args, sample.kwargs))
    torch.manual_seed(1)
    outputs = function(input, *args, **kwargs)
    outputs = tree_leaves(tuple(outputs)) if isinstance(outputs, (tuple, list)) else [outputs]
    return leaves, [y for y in outputs if isinstance(y, Tensor) and y.is_floating_point()]


def compare(function: Callable[..., Any], sample: Any) -> None:
    leaves, outputs = run(function, sample, nn.Variable)
    twin_leaves, twins = run(function, sample, Tensor.requires_grad_)
    assert len(outputs) == len(twins)
    for y, twin in zip(outputs, twins, strict=True):
        # Sums of up to some hundred values of size 10, in another order.
        torch.testing.assert_close(y.detach(), twin.detach(), rtol=1e-9, atol=1e-11, equal_nan=True)
    upstream = [torch.randn_like(twin) for twin in twins]
    total: Any = sum((y * u).sum() for y, u in zip(outputs, upstream, strict=True) if isinstance(y, nn.Variable))
    if isinstance(total, nn.Variable):
        total.backward()
    twin_total: Any = sum((y * u).sum() for y, u in zip(twins, upstream, strict=True) if y.requires_grad)
    if isinstance(twin_total, Tensor) and twin_total.requires_grad:
        try:
            twin_total.backward()
        except RuntimeError as error:
            if "is not implemented" not in str(error):
                raise
            return
    for x, twin in zip(leaves, twin_leaves, strict=True):
        mine, theirs = (torch.zeros_like(twin) if grad is None else grad for grad in (x.grad_v, twin.grad))
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10, equal_nan=True)


@pytest.mark.filterwarnings("ignore")  # PyTorch warns of what it will change in its own functions
@pytest.mark.parametrize("name", ENTRIES)
def test_as_pytorch(name: str) -> None:
    torch.use_deterministic_algorithms(False)  # which some operators do not have
    info = ENTRIES[name]
    ran = 0
    for sample in samples(info):
        for function in (info.op, info.method_variant):
            if function is None:
                continue
            try:
                compare(function, sample)
                ran += 1
            except RuntimeError as error:
                if "no derivative" not in str(error):
                    raise
    assert bool(ran) != is_refused(name), "it is refused" if not ran else "it is not refused any more"
