"""Call: what one application of a primitive leaves behind for its derivative."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from modgrad.graph.mode import mode

if TYPE_CHECKING:
    from modgrad.graph.primitive import Primitive

_next_order = itertools.count(0, -1).__next__


class Plain:
    """An input that wants no gradient: a plain tensor (not kept alive from here) or a Python value."""

    __slots__ = ("dtype", "reference", "shape", "value")

    def __init__(self, reference: Any, shape: Any = None, dtype: Any = None, value: Any = None) -> None:
        self.reference = reference  # weak; None for a Python value
        self.shape = shape
        self.dtype = dtype
        self.value = value

    @classmethod
    def of(cls, x: Any) -> Plain:
        return cls(weakref.ref(x), x.shape, x.dtype) if isinstance(x, Tensor) else cls(None, value=x)


# Where an input came from: (producer, which of its outputs); a Parameter or a leaf Variable; or Plain.
Source = Any
# An output: a weak reference to its Variable, its shape and dtype. None for one that has no gradient.
Output = tuple[Any, Any, Any]


def nobody() -> None:
    """Stands for the reference to a Variable that was never made."""


def is_variable(x: Any) -> bool:
    """Whether `x` carries a place in the graph: a Variable, or, while tracing, any tensor that a record hangs on."""
    return isinstance(x, Tensor) and hasattr(x, "_source")


def is_parameter(x: Any) -> bool:
    return isinstance(x, Tensor) and hasattr(x, "grad_f")


def plain(x: Any) -> Any:
    """`x` without Variables: their values in their place, in tuples and dicts too."""
    if isinstance(x, Tensor):
        return x._value if not mode.tracing and is_variable(x) else x  # type: ignore[attr-defined]
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

    # What the graph needs is in slots, faster made and freed than a dict; so `__dict__` has what the primitive has set.
    __slots__ = (
        *("__dict__", "__weakref__", "freed", "gradients", "module", "order", "outputs"),
        *("parameters", "saved", "sources", "versions", "wanted"),
    )
    within: Sequence[Any] = ()  # the parameters of a composite that is to be computed again, and gives them gradients
    summed: set[int] | None = None  # outputs whose gradient is a sum that the walk itself made

    def __init__(self, module: Primitive, sources: list[Source], parameters: dict[str, Any], wanted: bool) -> None:
        self.module = module
        self.sources = sources
        self.parameters = parameters  # those that want a gradient, by name
        self.wanted = wanted  # whether any input is to get a gradient
        self.freed = False
        self.order = _next_order()  # lower for later calls: lower than those of the calls its inputs came from
        self.saved: tuple[Any, ...] = ()
        self.versions: list[int | None] = _NOTHING
        self.outputs: list[Output | None] = _NOTHING
        self.gradients: list[Tensor | None] | None = None  # what has arrived for the outputs, during a walk

    def save(self, *tensors: Any) -> None:
        """Keep `tensors` for backward. Called once, with everything; None and Python values may be among them."""
        versions: list[int | None] = []
        try:
            for tensor in tensors:
                versions.append(None if tensor is None else tensor._version)
        except AttributeError:
            versions = [t._version if isinstance(t, Tensor) else None for t in tensors]
        except RuntimeError as error:
            raise RuntimeError(
                f"{self.module} cannot save a tensor made under torch.inference_mode() for its backward: changes of "
                "such a tensor are not counted. Evaluate under nn.no_grad(), train outside of inference_mode"
            ) from error
        self.versions = versions
        self.saved = tensors
        if COMPUTED_AGAIN:
            self.let_go()

    def let_go(self) -> None:
        """Keep no value that can be computed again, but what stands for it."""
        saved = list(self.saved)
        for position, tensor in enumerate(saved):
            stand_in = stand_in_for(tensor)
            if stand_in is not None:
                saved[position] = stand_in
                self.versions[position] = -1  # which no stand-in has: the walk will ask it for the value
                stand_in.consumers.append((weakref.ref(self), position))
        self.saved = tuple(saved)

    def wants(self, which: int | str) -> bool:
        """Whether input number `which`, or the parameter named `which`, is to get a gradient."""
        if type(which) is str:
            return which in self.parameters
        return type(self.sources[which]) is not Plain  # type: ignore[index]

    def free(self) -> None:
        """Let go of everything saved. Where the inputs came from stays, so that the graph can still be walked."""
        self.__dict__.clear()
        self.saved = ()
        self.freed = True

    def __repr__(self) -> str:
        return f"Call({self.module}, inputs={len(self.sources)}, outputs={len(self.outputs)})"

    def __reduce__(self) -> Any:
        raise TypeError("a recorded graph cannot be copied or pickled; take the values with variable.detach()")


class KeptCall(Call):
    """A call under keep_values: it holds every input and output, and is never freed."""

    kept: tuple[Any, Any]

    def free(self) -> None:
        pass


class CallOfMany(Call):
    """The one call that a composite leaves whose own calls are made in backward."""

    __slots__ = ("within",)


class Onward(NamedTuple):
    """What a `backward` may give in place of gradients: gradients of other values, by a call whose inputs those are."""

    call: Call
    gradients: tuple[Any, ...]


_NOTHING: list[Any] = []  # replaced, never changed

# Living values that can be computed again: id -> what stands for the value where a call saves it. See `again`.
COMPUTED_AGAIN: dict[int, Any] = {}


def stand_in_for(tensor: Any) -> Any:
    """What stands for this very value, or None."""
    stand_in = COMPUTED_AGAIN.get(id(tensor))
    if stand_in is not None and stand_in.reference() is tensor and stand_in.version == tensor._version:
        return stand_in
    return None
