"""Autocast over PyTorch's lists and the table of cases: in which dtypes everything runs, on the CPU and on a GPU.

No GPU is needed for dtypes: fake tensors have a device, and PyTorch's autocast can be told of one that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import zip_longest
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from modgrad import nn
from modgrad.graph.lists import _MADE_OF_SEVERAL, FLOAT32, LISTS, LOWER, PROMOTE, REFUSED, STATE
from modgrad.graph.tracing import Tracing, substituted
from tests.cases import CASES, FIRST, Case, row

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel",
    "ignore:Mismatch dtype between input and weight",
    "ignore:LSTM with projections is not supported with oneDNN",
)
LOW = torch.bfloat16
# Where PyTorch does not do what it does elsewhere, or cannot be compared.
EXCEPTIONS = {
    "AdaptiveLogSoftmaxWithLoss-bias": "PyTorch's fails under autocast, of an assignment between dtypes",
    "AdaptiveLogSoftmaxWithLoss-no bias": "the same",
    "FractionalMaxPool2d-ratio": "draws in the dtype that it computes in, PyTorch's in the input's",
    "FractionalMaxPool3d-ratio": "the same",
}
# A state that is rounded in each step goes into the next. PyTorch's many operations round where the loops here do not:
# gradients in the lower dtype, and a state that came in it. There PyTorch's values are no measure, as by float64's both
# are as far off, up to 0.04 of GRU's outputs: what counts is that these are hardly further off than PyTorch's.
OVER_STEPS = ("GRU-", "LSTM-packed", "LSTM-projected")
EXCEPTIONS_ON_CUDA = {
    "affine_grid": "of a fake tensor PyTorch's takes another way",
    "affine_grid of a volume": "the same",
    **dict.fromkeys(
        ("Upsample-bilinear", "Upsample-trilinear", "UpsamplingBilinear2d"),
        "told to be deterministic, as in these tests, PyTorch's is made of others on a GPU",
    ),
    **dict.fromkeys(
        ("EmbeddingBag-sum include_last_offset", "EmbeddingBag-sum padding_idx"),
        "per_sample_weights of another dtype than the weight are refused by PyTorch too, but not of fake tensors",
    ),
    "gamma functions": "PyTorch's mvlgamma is one operation, here it has a sum in it",
}


def floats(outputs: Any) -> list[Any]:
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [y for y in outputs if isinstance(y, Tensor) and y.is_floating_point()]


def dtypes(tensors: list[Any]) -> list[torch.dtype]:
    return [t.dtype for t in tensors]


def pair(case: Case) -> tuple[Any, Any]:
    module, twin = case.make().float(), case.make_twin().float()
    with torch.no_grad():
        for name, value in twin.state_dict().items():
            if value.is_floating_point() and name != "weight_of_classes":
                value.copy_(torch.rand_like(value) + 0.5)
    module.load_state_dict(twin.state_dict())
    return module.train(case.training), twin.train(case.training)


@contextmanager
def told(device: str) -> Iterator[None]:
    """PyTorch's autocast, on a device that need not be there."""
    before = torch.get_autocast_dtype(device)
    torch.set_autocast_dtype(device, LOW)
    torch.set_autocast_enabled(device, True)
    try:
        yield
    finally:
        torch.set_autocast_enabled(device, False)
        torch.set_autocast_dtype(device, before)


# The lists


@pytest.mark.parametrize("device", LISTS)
def test_lists_have_pytorchs_operations(device: str) -> None:
    """Each that PyTorch's autocast has something to do for, but for those that only PyTorch calls."""
    key = f"Autocast{device.upper()}"
    theirs = {
        name.removeprefix("aten::").partition(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("aten::") and torch._C._dispatch_has_kernel_for_dispatch_key(name, key)
    }
    several = {name for kinds in _MADE_OF_SEVERAL[device].values() for name in kinds.split()}
    assert not several & theirs
    assert set(LISTS[device]) - several - {LOWER, FLOAT32, PROMOTE} == {n for n in theirs if not n.startswith("_")}
    assert set(LISTS[device].values()) <= {LOWER, FLOAT32, PROMOTE, STATE, REFUSED}


# How to call an operation, where it is not of one matrix.
CALLS: dict[str, Any] = {
    **dict.fromkeys(("matmul", "mm", "pow", "atan2", "dist"), lambda f, m: f(m, m)),
    **dict.fromkeys(("addcdiv", "addcmul", "addmm"), lambda f, m: f(m, m, m)),
    "addbmm": lambda f, m: f(m, m.expand(1, 3, 3), m.expand(1, 3, 3)),
    "baddbmm": lambda f, m: f(*[m.expand(1, 3, 3)] * 3),
    **dict.fromkeys(("cumprod", "cumsum", "log_softmax", "logsumexp", "softmax"), lambda f, m: f(m, 0)),
    "addmv": lambda f, m: f(m.sum(0), m, m.sum(0)),
    "addr": lambda f, m: f(m, m.sum(0), m.sum(0)),
    "bmm": lambda f, m: f(m.expand(1, 3, 3), m.expand(1, 3, 3)),
    "dot": lambda f, m: f(m.amax(0), m.amax(0)),
    "group_norm": lambda f, m: f(m, 1),
    **dict.fromkeys(("layer_norm", "rms_norm"), lambda f, m: f(m, (3,))),
    "mv": lambda f, m: f(m, m.sum(0)),
    "tensordot": lambda f, m: f(m, m, 1),
    "conv1d": lambda f, m: f(m, m.unsqueeze(2)),
    "conv_transpose1d": lambda f, m: f(m, m.unsqueeze(2)),
    "cross": lambda f, m: f(m, m, dim=1),
    "linear": lambda f, m: f(m, m),
    "prelu": lambda f, m: f(m, m.sum(0)),
    "scaled_dot_product_attention": lambda f, m: f(*[m.expand(1, 3, 3)] * 3),
    **dict.fromkeys(("l1_loss", "mse_loss", "huber_loss", "smooth_l1_loss", "kl_div"), lambda f, m: f(m, m)),
    **dict.fromkeys(("soft_margin_loss", "cosine_similarity", "cdist"), lambda f, m: f(m, m)),
    **dict.fromkeys(("acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log1p", "log2"), None),
    **dict.fromkeys(("norm", "prod", "reciprocal", "rsqrt", "sinh", "softplus", "sum", "tan", "trace"), None),
    **dict.fromkeys(("relu", "mean", "sqrt", "tanh", "sigmoid", "gelu", "silu", "var"), None),  # not in any
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("device", LISTS)
def test_lists_say_in_what_pytorch_computes(device: str, name: str) -> None:
    function = getattr(torch, name, None) or getattr(torch.nn.functional, name)
    call = CALLS[name] or (lambda f, m: f(m))
    for dtype in (torch.float32, LOW):
        with FakeTensorMode():
            x = torch.empty(3, 3, dtype=dtype, device=device)
            with told(device):
                found = call(function, x).dtype
        kind = LISTS[device].get(name)
        if kind is None and (device, name) in {("cpu", "addmv"), ("cpu", "tensordot")}:
            continue  # made of others
        assert found == {LOWER: LOW, FLOAT32: torch.float32}.get(kind or "", dtype)


# The table of cases


def every(*exceptions: str) -> Any:
    cases = [case for case in CASES if case.name not in exceptions]
    rows = [row(c, c not in FIRST, d, name=f"{c}-{d}") for c in cases for d in (torch.float32, LOW)]
    return pytest.mark.parametrize(("case", "dtype"), rows)


@every(*EXCEPTIONS)
def test_is_pytorchs_on_the_cpu(case: Case, dtype: torch.dtype) -> None:
    """Dtypes and values of outputs and of gradients: parameters in float32, inputs in both.

    Where PyTorch has no kernel for such a mixture there is nothing to compare with.
    """
    module, twin = pair(case)
    inputs = [x.to(dtype) if x.is_floating_point() else x for x in case.inputs[0]()]
    x = [nn.Variable(v.clone()) if v.is_floating_point() else v for v in inputs]
    x_twin = [v.clone().requires_grad_() if v.is_floating_point() else v for v in inputs]
    torch.manual_seed(1)
    try:
        with torch.autocast("cpu", LOW):
            theirs = floats(twin(*x_twin))
    except (RuntimeError, NotImplementedError):
        return
    torch.manual_seed(1)
    with nn.autocast("cpu", LOW):
        mine = floats(module(*x))
    assert dtypes(mine) == dtypes(theirs)
    upstream = [torch.randn(y.shape).to(y.dtype) for y in mine]
    exact, exact_gradients = in_float64(twin, inputs, upstream) if case.name.startswith(OVER_STEPS) else ([], [])
    for y, y_twin, y_exact in zip_longest(mine, theirs, exact if dtype is LOW else []):
        assert_near(y.detach(), y_twin.detach(), float("inf"), 2**-7, y_exact)
    recorded = [i for i, y in enumerate(theirs) if y.requires_grad]
    if not recorded:
        return
    total: Any = 0
    for i in recorded:
        total = (mine[i] * upstream[i]).sum().float() + total
    total.backward()
    try:
        torch.autograd.backward([theirs[i] for i in recorded], [upstream[i] for i in recorded])
    except NotImplementedError:
        return
    gradients = [(a.grad_v, b.grad) for a, b in zip(x, x_twin, strict=True) if a.is_floating_point()]
    gradients += [(p.grad_v, twin.get_parameter(name).grad) for name, p in module.named_parameters()]
    for (grad, other), grad_exact in zip_longest(gradients, exact_gradients):
        if grad is None or other is None:
            given = other if grad is None else grad
            assert given is None or not given.any()
            continue
        assert grad.dtype == other.dtype
        assert_near(grad, other, 2.0, 2**-6, grad_exact)


def in_float64(twin: Any, inputs: list[Tensor], upstream: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """PyTorch's outputs and gradients, of inputs and parameters, where nothing is rounded."""
    exact = deepcopy(twin).double()
    x = [v.double().requires_grad_() for v in inputs]
    outputs = floats(exact(*x))
    torch.autograd.backward(outputs, [g.double() for g in upstream])
    gradients: list[Any] = [v.grad for v in (*x, *exact.parameters())]
    return [y.detach() for y in outputs], gradients


def assert_near(mine: Tensor, theirs: Tensor, order: float, share: float, exact: Tensor | None = None) -> None:
    """The norm of the difference is at most this share of the norm: a few roundings to bfloat16, which are 2^-9 each,
    of sums that are rounded at other places. With `exact`: of the difference from that, beside one and a half of
    PyTorch's own."""
    mine, theirs = mine.double(), theirs.double()
    if exact is not None:
        size, off = (torch.linalg.vector_norm(x, order) for x in (exact, theirs - exact))
        assert float(torch.linalg.vector_norm(mine - exact, order)) <= share * float(size) + 1.5 * float(off)
        return
    finite = theirs.isfinite()
    assert torch.equal(mine.isfinite(), finite)
    if finite.any():
        mine, theirs = mine[finite], theirs[finite]
        size = torch.linalg.vector_norm(theirs, order)
        assert float(torch.linalg.vector_norm(mine - theirs, order)) <= share * float(size) + 1e-12


@every(*EXCEPTIONS, *EXCEPTIONS_ON_CUDA)
def test_is_pytorchs_on_a_gpu(case: Case, dtype: torch.dtype) -> None:
    """Dtypes of the outputs, as far as one gets with fake tensors where there is no GPU."""
    module, twin = pair(case)
    inputs = case.inputs[0]()
    states = module.state_dict(), twin.state_dict()
    with FakeTensorMode():

        def fake(x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(x.shape, dtype=dtype if x.is_floating_point() else x.dtype, device="cuda")

        own, other = ({name: fake(value) for name, value in state.items()} for state in states)
        x = [fake(v, dtype) for v in inputs]
        try:
            with told("cuda"):
                theirs = floats(functional_call(twin, other, tuple(x)))
        except Exception:
            return
        try:
            with Tracing(), substituted(module, own), nn.autocast("cuda", LOW):
                mine = floats(module(*[nn.Variable(v) if v.is_floating_point() else v for v in x]))
        except Exception as error:
            if _is_for_want_of_values(error):
                return
            raise
    assert dtypes(mine) == dtypes(theirs)


def _is_for_want_of_values(error: BaseException | None) -> bool:
    while error is not None:
        if "not linked with support for cuda" in str(error) or type(error).__module__ == FakeTensorMode.__module__:
            return True
        error = error.__cause__ or error.__context__
    return False


def test_unsafe_operation_is_refused_on_a_gpu_as_by_pytorch() -> None:
    with FakeTensorMode():
        x = torch.empty(3, device="cuda")
        with told("cuda"), pytest.raises(RuntimeError, match="unsafe to autocast"):
            torch.nn.functional.binary_cross_entropy(x, x)
        with Tracing(), nn.autocast("cuda", LOW), pytest.raises(RuntimeError, match=r"write BCEWithLogitsLoss\(\)"):
            nn.BCELoss()(nn.Variable(x), x)
