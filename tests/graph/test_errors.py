"""Never a wrong gradient in silence: each mistake raises, and the message says what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from modgrad import nn


class Square(nn.Primitive):
    def forward(self, call: nn.Call, x: Tensor) -> Tensor:
        call.save(x)
        return x * x

    def backward(self, call: nn.Call, grad: Tensor) -> Any:
        (x,) = call.saved
        return 2 * x * grad


class Scale(nn.Primitive):
    """y = x s, with a parameter s of x's shape."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(size))

    def forward(self, call: nn.Call, x: Tensor) -> Tensor:
        call.save(x, self.scale)
        return x * self.scale

    def backward(self, call: nn.Call, grad: Tensor) -> Any:
        return grad * call.saved[1]

    def parameter_gradients(self, call: nn.Call, grad: Tensor) -> Any:
        return {"scale": grad * call.saved[0]}


def leaf(*shape: int) -> nn.Variable:
    return nn.Variable(torch.ones(*(shape or (3,))))


# Operators that have no derivative


@pytest.mark.parametrize(
    "use",
    [
        lambda v: torch.fft.fft(v),
        lambda v: torch.special.bessel_j0(v),
        lambda v: torch.unique(v),
        lambda v: v.histc(),
        lambda v: torch.renorm(v.unsqueeze(0), 2, 0, 1.0),
        lambda v: torch.heaviside(v, v),
        lambda v: v.as_strided((2,), (1,)),
        lambda v: torch.linalg.svdvals(v.reshape(1, -1)),
        lambda v: torch.matrix_exp(v.reshape(-1, 1) * v),
    ],
)
def test_an_operator_without_derivative(use: Any) -> None:
    with pytest.raises(RuntimeError, match=r"has no derivative in modgrad.*\.detach\(\).*Primitive"):
        use(leaf() * 1)
    with pytest.raises(RuntimeError, match="has no derivative in modgrad"):
        use(nn.Parameter(torch.ones(3)))
    with nn.no_grad():
        use(leaf())
    frozen = nn.Parameter(torch.ones(3), grad_f=False)
    use(frozen)


@pytest.mark.parametrize(
    "use",
    [
        lambda v: v * 1j,
        lambda v: v + torch.ones(3, dtype=torch.complex64),
        lambda v: v**0.5j,
        lambda v: v.to(torch.complex64),
    ],
)
def test_complex_numbers_are_refused(use: Any) -> None:
    with pytest.raises(RuntimeError, match="complex numbers are not supported"):
        use(leaf())
    with nn.no_grad():
        assert use(leaf()).is_complex()


@pytest.mark.parametrize(
    "use",
    [
        lambda v: v // 2,
        lambda v: 2 // v,
        lambda v: torch.div(v, 2, rounding_mode="trunc"),
        lambda v: v.round(decimals=1),
        lambda v: v.sign(),
        lambda v: v.argmax(),
        lambda v: v > v,
    ],
)
def test_a_constant_leaves_the_graph(use: Any) -> None:
    """Its derivative is zero almost everywhere, or it has none."""
    assert type(use(leaf())) is Tensor
    assert type(use(nn.Parameter(torch.ones(3)))) is Tensor


# Changes in place


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.add_(1),
        lambda v: v.__iadd__(1),
        lambda v: v.__setitem__(0, 1.0),
        lambda v: v.zero_(),
        lambda v: torch.add(v, 1, out=v),
        lambda v: torch.relu_(v),
        lambda v: v.clamp_(0, 1),
        lambda v: v.copy_(torch.zeros(3)),
        lambda v: v.uniform_(),
        lambda v: setattr(v, "data", torch.zeros(3)),
    ],
)
def test_a_variable_changed_in_place(change: Any) -> None:
    for variable in (leaf(), leaf() * 2):
        with pytest.raises((RuntimeError, AttributeError), match=r"in place|setter|grad_v"):
            change(variable)


def test_a_leaf_may_be_changed_under_no_grad() -> None:
    variable = leaf()
    with nn.no_grad():
        variable -= 0.5
    assert isinstance(variable, nn.Variable)
    assert torch.equal(variable.detach(), torch.full((3,), 0.5))
    recorded = leaf() * 2
    with nn.no_grad(), pytest.raises(RuntimeError, match="in place"):
        recorded += 1


def test_a_variable_written_into_a_plain_tensor() -> None:
    for grad_mode in (True, False):
        torch.set_grad_enabled(grad_mode)
        out = torch.zeros(3)
        with pytest.raises(RuntimeError, match=r"write a Variable into a tensor outside.*torch\.cat"):
            out[0] = (leaf() * 2)[0]
        with pytest.raises(RuntimeError, match=r"outside the graph"):
            out.add_(leaf())
        with pytest.raises(RuntimeError, match=r"outside the graph"):
            torch.mul(leaf(), 2, out=out)
    assert not out.any()


def test_a_saved_value_changed_before_backward() -> None:
    x = torch.ones(3)
    loss = Square()(nn.Variable(x)).sum()
    x.add_(1)
    with pytest.raises(RuntimeError, match=r"backward of Square\(\): saved tensor number 0 .*changed in place.*clone"):
        loss.backward()


def test_a_parameter_updated_between_forward_and_backward() -> None:
    scale = Scale()
    loss = scale(leaf()).sum()
    scale.scale.data.mul_(2)  # through .data: not counted, as in PyTorch
    scale.scale.detach().mul_(2)
    with pytest.raises(RuntimeError, match=r"backward of Scale\(\): saved tensor number 1"):
        loss.backward()


def test_inference_tensors_cannot_be_saved() -> None:
    with torch.inference_mode():
        x = torch.ones(3)
        with pytest.raises(RuntimeError, match="inference_mode"):
            Square()(nn.Variable(x))


# The walk


def test_a_second_backward() -> None:
    x = leaf()
    loss = Square()(x).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"a second time.*retain_graph=True"):
        loss.backward()


def test_a_shared_part_freed_by_another_loss() -> None:
    shared = Square()(leaf())
    first, second = Square()(shared).sum(), Square()(shared).sum()
    first.backward()
    with pytest.raises(RuntimeError, match=r"backward through Square\(\) a second time"):
        second.backward()


def test_a_non_scalar_without_gradient() -> None:
    with pytest.raises(RuntimeError, match=r"shape \(3,\): only a scalar.*backward\(gradient\)"):
        Square()(leaf()).backward()


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (torch.ones(4), ValueError, r"expected shape \(3,\) and torch.float32.*shape \(4,\)"),
        (torch.ones(3, dtype=torch.float64), ValueError, "float64"),
        (1.0, TypeError, "expected a tensor"),
    ],
)
def test_a_wrong_upstream_gradient(gradient: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Square()(leaf()).backward(gradient)


def primitive(**methods: Any) -> nn.Primitive:
    return type("Wrong", (nn.Primitive,), {"forward": lambda self, call, *x: x[0] * 1, **methods})()


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (lambda g: g[:2], ValueError, r"Wrong\(\): the gradient of input 0 has shape \(2,\).*expected \(3,\)"),
        (lambda g: g.double(), ValueError, r"input 0 has shape \(3,\) and torch.float64.*expected.*torch.float32"),
        (lambda g: (g, g), ValueError, r"Wrong\(\) gave 2 gradients for 1 inputs"),
        (lambda g: (), ValueError, r"gave 0 gradients for 1 inputs"),
        (lambda g: 3.0, TypeError, r"gradient of input 0 is float 3.0, expected a tensor"),
        (lambda g: nn.Variable(g), TypeError, "does not differentiate gradients"),
    ],
)
@pytest.mark.parametrize("inner", [False, True])
def test_a_wrong_result_of_backward(result: Any, error: type[Exception], message: str, inner: bool) -> None:
    wrong = primitive(backward=lambda self, call, grad: result(grad))
    x = leaf() * 2 if inner else leaf()
    with pytest.raises(error, match=message):
        wrong(x).sum().backward()


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (lambda g: {"scale": g[:2]}, ValueError, r"the gradient of scale has shape \(2,\)"),
        (lambda g: {"scale": g.double()}, ValueError, "torch.float64"),
        (lambda g: {"weight": g}, ValueError, r"a gradient for 'weight'; its own parameters are 'scale'"),
        (lambda g: {"scale": 1}, TypeError, "gradient of scale is int 1"),
    ],
)
@pytest.mark.parametrize("again", [False, True])
def test_a_wrong_parameter_gradient(result: Any, error: type[Exception], message: str, again: bool) -> None:
    wrong = type("Wrong", (Scale,), {"parameter_gradients": lambda self, call, grad: result(grad)})()
    if again:
        wrong.scale.grad_v = torch.zeros(3)
    with pytest.raises(error, match=message):
        wrong(leaf()).sum().backward()


def test_too_few_gradients() -> None:
    wrong = primitive(backward=lambda self, call, grad: grad)
    with pytest.raises(ValueError, match="gave 1 gradients for 2 inputs"):
        wrong(leaf(), leaf()).sum().backward()
    wrong(leaf(), 2, "sum").sum().backward()  # those of trailing values that are no tensors may be left out


def test_missing_methods() -> None:
    for missing, message in [
        (type("Empty", (nn.Primitive,), {})(), "Empty has no forward"),
        (type("Empty", (nn.Module,), {})(), "Empty has no forward"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            missing(leaf())
    with pytest.raises(RuntimeError, match="Wrong has no backward: write def backward"):
        primitive()(leaf()).sum().backward()
    unsaid = type("Unsaid", (Scale,), {"parameter_gradients": nn.Primitive.parameter_gradients})()
    with pytest.raises(RuntimeError, match="Unsaid has parameters to train and does not say"):
        unsaid(leaf()).sum().backward()


def test_a_gradient_of_a_gradient() -> None:
    x = leaf()
    with pytest.raises(RuntimeError, match="does not differentiate gradients"):
        Square()(x).sum().backward(create_graph=True)
    with pytest.raises(TypeError, match="does not differentiate gradients"):
        Square()(x).backward(leaf() * 1)
    with pytest.raises(TypeError, match="autograd.grad has no graph here: call loss.backward"):
        torch.autograd.grad(Square()(x).sum(), x)
    with pytest.raises(RuntimeError, match="freeze the other parameters"):
        Square()(x).sum().backward(inputs=[x])


# Autograd's tensors


def test_a_tensor_of_autograd_is_refused_everywhere() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    for tensor in (x, y):
        for use in (
            Square(),
            nn.Sequential(Square()),
            nn.Variable,
            nn.Parameter,
            lambda t: leaf() * t,
            lambda t: torch.cat([leaf(), t]),
            lambda t: setattr(nn.Identity(), "constant", t),
        ):
            with pytest.raises(RuntimeError, match=r"requires_grad=True.*tensor.detach\(\)"):
                use(tensor)
    hidden = primitive(forward=lambda self, call, x_: x_ * y)
    with pytest.raises(RuntimeError, match=r"Wrong\(\).forward: its output was given a tensor with requires_grad=True"):
        hidden(leaf())
    with pytest.raises(RuntimeError, match="requires_grad=True"):
        nn.Sequential(hidden)(leaf())


def test_autograds_switch_is_grad_f() -> None:
    parameter, frozen = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3), requires_grad=False)
    assert (parameter.requires_grad, frozen.requires_grad, frozen.grad_f) == (True, False, False)
    parameter.requires_grad = False
    assert not parameter.grad_f
    assert frozen.requires_grad_() is frozen
    assert frozen.grad_f
    layer = nn.Linear(2, 2)
    assert layer.requires_grad_(False) is layer
    layer(nn.Variable(torch.ones(1, 2))).sum().backward()
    assert layer.weight.grad_v is None
    assert nn.Parameter(layer.requires_grad_().weight).grad_f, "a parameter is no tensor of autograd"
    with pytest.raises(TypeError, match="takes data and grad_f, got trainable"):
        nn.Parameter(torch.ones(3), trainable=False)
    for variable in (leaf(), leaf() * 2):
        with pytest.raises(TypeError, match="write parameter.grad_f"):
            variable.requires_grad = False


# What a primitive is given and gives


def test_a_primitive_that_returns_something_else() -> None:
    with pytest.raises(TypeError, match=r"Wrong\(\).forward returned float 1.0: return a tensor"):
        primitive(forward=lambda self, call, x: 1.0)(leaf())
    inner = Square()
    with pytest.raises(TypeError, match=r"returned a Variable.*write a composite"):
        primitive(forward=lambda self, call, x: inner(nn.Variable(x)))(leaf())
    with pytest.raises(TypeError, match=r"returned a Variable"):
        nn.Sequential(primitive(forward=lambda self, call, x: inner(nn.Variable(x))))(leaf())


def test_variables_in_a_list() -> None:
    with pytest.raises(TypeError, match=r"a list with Variables in it.*one by one"):
        Square()([leaf(), leaf()])


def test_a_variable_as_index() -> None:
    with pytest.raises(TypeError, match="an index has no gradient"):
        leaf()[leaf()]


def test_only_floats_have_gradients() -> None:
    for make in (nn.Variable, nn.Parameter):
        with pytest.raises(TypeError, match=r"floating-point tensor.*torch.int64.*\.float\(\)"):
            make(torch.tensor([1, 2]))
        with pytest.raises(TypeError, match=r"recorded Variable.*detach"):
            make(leaf() * 2)


def test_a_recorded_variable_is_not_copied_or_pickled() -> None:
    import copy
    import pickle

    y = leaf() * 2
    with pytest.raises(TypeError, match="deep-copied: copy variable.detach"):
        copy.deepcopy(y)
    with pytest.raises(TypeError, match="pickled: save variable.detach"):
        pickle.dumps(y)
    with pytest.raises(TypeError, match="recorded graph cannot be"):
        copy.deepcopy(y._source[0])


def test_arguments_by_name_only() -> None:
    wrong = primitive(forward=lambda self, call, x, *, scale: x * scale)
    with pytest.raises(TypeError, match="takes scale by name only"):
        wrong(leaf(), scale=2)
