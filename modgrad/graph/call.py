"""Call: what one application of a primitive leaves behind for its derivative."""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from modgrad.graph.mode import mode

if TYPE_CHECKING:
    from modgrad.graph.primitive import Primitive

_next_order = itertools.count().__next__


class Plain:
    """An input that wants no gradient: a plain tensor (not kept alive from here) or a Python value."""

    __slots__ = ("dtype", "reference", "shape", "value")

    def __init__(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self.reference = weakref.ref(value)
            self.shape, self.dtype = value.shape, value.dtype
            self.value = None
        else:
            self.reference, self.value = None, value


# Where an input came from: (producer, which of its outputs); a Parameter or a leaf Variable; or Plain.
Source = Any


def is_variable(x: Any) -> bool:
    """Whether `x` carries a place in the graph: a Variable, or, while tracing, any tensor that a record hangs on."""
    return isinstance(x, Tensor) and hasattr(x, "_source")


def is_parameter(x: Any) -> bool:
    return isinstance(x, Tensor) and hasattr(x, "grad_f")


def plain(x: Any) -> Any:
    """`x` as a primitive may see it: tensors without their record, tuples and dicts of them likewise."""
    if isinstance(x, Tensor):
        if mode.tracing:
            return x
        if is_variable(x):
            return x._value  # type: ignore[attr-defined]
        if is_parameter(x):
            with torch._C.DisableTorchFunctionSubclass():
                return x.as_subclass(Tensor)
        return x
    if isinstance(x, (tuple, list)):
        items = [plain(item) for item in x]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    if isinstance(x, dict):
        return {key: plain(item) for key, item in x.items()}
    return x


class Call:
    """One application of a primitive: the module, where its inputs came from, what forward saved.

    Inside `forward` and `backward` of a primitive it is the argument `call`:

    - `call.save(*tensors)` keeps what backward needs; `call.saved` gives it back. An in-place change of a
      saved tensor between the two is found and raises.
    - `call.wants(which)` tells whether input number `which`, or the parameter of that name, is to get a gradient.
    - any other attribute may be set on it, and lives as long as what was saved.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "freed",
        "gradients",
        "kept",
        "module",
        "order",
        "outputs",
        "parameters",
        "saved",
        "sources",
        "summed",
        "versions",
        "wanted",
    )

    def __init__(self, module: Primitive, sources: list[Source], parameters: dict[str, Any]) -> None:
        self.module = module
        self.sources = sources
        self.parameters = parameters  # those that want a gradient, by name
        self.saved: tuple[Any, ...] = ()
        self.versions: list[int | None] = []
        self.outputs: list[tuple[Any, torch.Size, torch.dtype] | None] = []  # (weak Variable, shape, dtype)
        self.gradients: list[Tensor | None] | None = None  # what has arrived for the outputs, during a walk
        self.summed: set[int] | None = None  # outputs whose gradient is a sum that the walk itself made
        self.kept: tuple[Any, Any] | None = None  # all inputs and outputs, under keep_values
        self.freed = False
        self.wanted = False  # whether any input is to get a gradient
        self.order = _next_order()  # a call is always later than the calls its inputs came from

    def save(self, *tensors: Any) -> None:
        """Keep `tensors` for backward. Called once, with everything; None and Python values may be among them."""
        try:
            self.versions = [None if t is None else t._version for t in tensors]
        except AttributeError:
            self.versions = [t._version if isinstance(t, Tensor) else None for t in tensors]
        except RuntimeError as error:
            raise RuntimeError(
                f"{self.module} cannot save a tensor made under torch.inference_mode() for its backward: changes of "
                "such a tensor are not counted. Evaluate under nn.no_grad(), train outside of inference_mode."
            ) from error
        self.saved = tensors

    def wants(self, which: int | str) -> bool:
        """Whether input number `which`, or the parameter named `which`, is to get a gradient."""
        if type(which) is str:
            return which in self.parameters
        return type(self.sources[which]) is not Plain  # type: ignore[index]

    def free(self) -> None:
        """Let go of everything saved. Where the inputs came from stays, so that the graph can still be walked."""
        self.freed = True
        self.saved = ()
        self.versions = []
        self.__dict__.clear()

    def __repr__(self) -> str:
        return f"Call({self.module}, inputs={len(self.sources)}, outputs={len(self.outputs)})"

    def __reduce__(self) -> Any:
        raise TypeError("a recorded graph cannot be copied or pickled; take the values with variable.detach()")
