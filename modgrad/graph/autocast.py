"""Mixed precision: inside `autocast` a primitive runs in the dtype that PyTorch's lists name for its operation.

What is cast is a call's inputs and its module's parameters, before forward; gradients are cast back behind backward, as
a cast's derivative is a cast. So nothing inside a primitive, and nobody who reads its call, need know of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modgrad.graph.call import is_parameter
from modgrad.graph.lists import LISTS, LOWER, NAMED, OTHER_NAMES, PROMOTE, REFUSED, STATE
from modgrad.graph.mode import mode, switched

AS_GIVEN = "as given"  # an operation that was told its dtype
_DTYPES = (torch.bfloat16, torch.float16)
_plainly = torch._C.DisableTorchFunctionSubclass
torch_autocast_off: Any = torch._C._DisableAutocast
torch_casts = torch._C._is_any_autocast_enabled  # whether PyTorch casts here


class Region(NamedTuple):
    """What holds inside an `autocast`."""

    dtypes: Mapping[str, torch.dtype]  # device type -> the lower dtype, for those where autocast is on
    casts: dict[Any, Any] | None  # (a parameter's id, dtype) -> the parameter, its version, the cast; None: none kept


class autocast:  # noqa: N801 (PyTorch's name)
    """Inside, products of matrices, convolutions and the like run in `dtype`, and what needs the range in float32.

    Which operation runs in which is said by PyTorch's lists for the device (`graph.lists`); what they do not name runs
    in the dtypes that come. Parameters stay as they are, and so do their gradients: one of float32 is cast to `dtype`
    once in a region, and its gradients to float32. float64 is never cast.

    autocast(dtype): on every device. autocast(device_type, dtype=None, enabled=True, cache_enabled=None), PyTorch's
    arguments: on the devices of this type only, "cpu" or "cuda"; dtype None is what `torch.get_autocast_dtype` says,
    bfloat16 on the CPU, float16 on CUDA. enabled=False: inside, nothing is cast. cache_enabled=False: a parameter is
    cast anew at each use; None: as outside, and at first True.

    Around forward and loss; backward may run in it or outside, to the same result. Also a decorator. float16 on CUDA
    needs an `optim.GradScaler`, or small gradients become 0. Operations on plain tensors are cast too, by PyTorch.
    Inside PyTorch's own autocast, which would cast within a primitive behind its derivative's back, primitives raise.

    >>> import torch
    >>> from modgrad import nn
    >>> layer, x = nn.Linear(2, 3), torch.ones(4, 2)
    >>> with nn.autocast(torch.bfloat16):
    ...     y = layer(x)
    >>> y.sum().backward()
    >>> y.dtype, layer.weight.grad_v.dtype
    (torch.bfloat16, torch.float32)
    """

    def __init__(
        self,
        device_type: str | torch.dtype | None = None,
        dtype: torch.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if isinstance(device_type, torch.dtype):
            if dtype is not None:
                raise TypeError(f"autocast({device_type}, {dtype}): write autocast(dtype), or autocast('cpu', dtype)")
            device_type, dtype = None, device_type
        if device_type is not None and device_type not in LISTS:
            raise ValueError(
                f"autocast(device_type={device_type!r}): expected {' or '.join(map(repr, LISTS))}, or None"
            )
        if device_type is None and dtype is None and enabled:
            raise TypeError("autocast(): for every device it needs a dtype: write autocast(torch.bfloat16)")
        if dtype is not None and dtype not in _DTYPES and enabled:
            raise ValueError(
                f"autocast(dtype={dtype}): expected torch.bfloat16 or torch.float16; to compute in the dtypes that "
                "come, write enabled=False"
            )
        self.device_types = tuple(LISTS) if device_type is None else (device_type,)
        self.dtype, self.enabled, self.cache_enabled = dtype, enabled, cache_enabled

    def __enter__(self) -> autocast:
        outer = mode.autocast
        dtypes = {} if outer is None else dict(outer.dtypes)
        for device_type in self.device_types:
            if self.enabled:
                dtypes[device_type] = self.dtype or torch.get_autocast_dtype(device_type)
            else:
                dtypes.pop(device_type, None)
        casts = {} if outer is None else outer.casts
        if self.cache_enabled is not None:
            casts = (casts or {}) if self.cache_enabled else None
        region = under(Region(dtypes, casts) if dtypes else None)
        region.__enter__()
        _opened.regions.append(region)
        return self

    def __exit__(self, *error: Any) -> None:
        _opened.regions.pop().__exit__(*error)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, run inside."""

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return run


class _Opened(threading.local):
    def __init__(self) -> None:
        self.regions: list[Any] = []


_opened = _Opened()  # a thread's own, as one autocast may be entered by several, and again within itself


@contextmanager
def under(region: Region | None) -> Iterator[None]:
    """Inside, autocast is as `region` says: here, and in PyTorch, for operations on plain tensors.

    While a step is traced PyTorch is not told, as its casts would not be seen: `Tracing` sees to these.
    """
    before = [] if mode.tracing else [(d, torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in LISTS]
    try:
        for device_type, _, usual in before:
            dtype = None if region is None else region.dtypes.get(device_type)
            _tell(device_type, dtype is not None, dtype or usual)
        with switched(autocast=region):
            yield
    finally:
        for told in before:
            _tell(*told)


def _tell(device_type: str, enabled: bool, dtype: torch.dtype) -> None:
    torch.set_autocast_enabled(device_type, enabled)
    torch.set_autocast_dtype(device_type, dtype)


def anew(region: Region | None) -> Region | None:
    """The same, with nothing cast yet: for what runs again later, when the casts of the first time are gone."""
    return None if region is None else Region(region.dtypes, None if region.casts is None else {})


def refuse_torch_autocast(module: Any) -> None:
    """Raise inside PyTorch's autocast alone: what it casts within forward, a derivative would not know of."""
    if torch_casts():
        raise RuntimeError(
            f"{module} was called inside torch.autocast, whose casts modgrad's derivatives know nothing of. Write "
            "nn.autocast(...) in its place: it takes the same arguments, and has PyTorch cast plain tensors as well"
        )


class Cast:
    """Stands for a primitive in one call, which it runs in another dtype."""

    backward_ = parameter_gradients_ = None

    def __init__(self, module: Any, device_type: str, dtype: torch.dtype, most: int | None) -> None:
        self._module, self._device_type, self._dtype = module, device_type, dtype
        self._most = most  # how many of the inputs are cast; None: all
        self._inputs: list[torch.dtype | None] = []

    def forward(self, call: Any, *inputs: Any) -> Any:
        self._inputs = [x.dtype if isinstance(x, Tensor) else None for x in inputs]
        # As long as the call is not made again, its sources tell which inputs are parameters, which are cast once.
        given = [s if is_parameter(s) else x for x, s in zip(inputs, call.sources, strict=True)]
        own = self._module.__dict__
        changed = {
            name: self._cast(own[name])
            for name in (*own["_parameter_names"], *own["_buffer_names"])
            if self._concerns(own[name])
        }
        # What reads `self.weight` is to find the cast. The module itself is not changed: others may be calling it.
        module = object.__new__(type(self._module))
        module.__dict__.update(own)
        module.__dict__.update(changed)
        cast = [self._cast(x) if self._concerns(x) else x for x in given[: self._most]]
        return module.forward(call, *cast, *given[len(cast) :])

    def backward(self, call: Any, *grads: Any) -> Any:
        results = self._module.backward(call, *grads)
        if not isinstance(results, (tuple, list)):
            return _to(results, self._inputs[0])
        return *map(_to, results, self._inputs), *results[len(self._inputs) :]

    def parameter_gradients(self, call: Any, *grads: Any) -> dict[str, Tensor | None]:
        gradients = self._module.parameter_gradients(call, *grads)
        dtypes = {name: parameter.dtype for name, parameter in call.parameters.items()}
        return {name: _to(gradient, dtypes.get(name)) for name, gradient in gradients.items()}

    def _concerns(self, x: Any) -> bool:
        return _is_eligible(x, self._device_type)

    def _cast(self, x: Any) -> Tensor:
        """`x` in the dtype; a parameter's cast is the one that the region has kept."""
        casts = None if mode.autocast is None else mode.autocast.casts
        if casts is None or x.dtype is self._dtype or self._dtype is torch.float32 or not is_parameter(x):
            return x.to(self._dtype)
        key = id(x), self._dtype
        found = casts.get(key)
        if found is None or found[0] is not x or found[1] != x._version:
            found = casts[key] = x, x._version, x.to(self._dtype)
        return found[2]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __repr__(self) -> str:
        return repr(self._module)


def _to(gradient: Any, dtype: torch.dtype | None) -> Any:
    return gradient if not isinstance(gradient, Tensor) or dtype is None else gradient.to(dtype)


def _is_eligible(x: Any, device_type: str) -> bool:
    """Whether autocast concerns this value. float64 stays what it is."""
    return (
        isinstance(x, Tensor)
        and x.is_floating_point()
        and x.dtype is not torch.float64
        and x.device.type == device_type
    )


def cast(module: Any, values: list[Any]) -> Any:
    """What is to run for `module` on these values, inside of an `autocast`: itself, or a `Cast`."""
    operation = module.autocast
    if not isinstance(operation, str):
        operation = operation(*values)
    if not operation and not mode.operations:
        return module
    own = module.__dict__
    with _plainly():
        held = [own[name] for name in (*own["_parameter_names"], *own["_buffer_names"])]
        tensors = [x for x in (*values, *held) if isinstance(x, Tensor)]
        device_type = max((x.device.type for x in tensors), default="", key=lambda name: name != "cpu")
        lower = mode.autocast.dtypes.get(device_type)
        kind = None if lower is None else _list_of(operation, device_type)
        if kind is None:
            return module
        if kind == REFUSED:
            raise RuntimeError(
                f"{module} is not safe under autocast on {device_type}, where a probability may be rounded to 0 or 1: "
                "write BCEWithLogitsLoss() on the scores themselves; or leave autocast for it, nn.autocast("
                f"{device_type!r}, enabled=False), and give it input.float()"
            )
        target: Any = lower if kind in (LOWER, STATE) else torch.float32
        if kind == PROMOTE:
            target = _widest(tensors, device_type, lower)
        if all(x.dtype is target for x in tensors if _is_eligible(x, device_type)):
            return module
    return Cast(module, device_type, target, 1 if kind == STATE else None)  # the states, which come last, stay


def _list_of(operation: str, device_type: str) -> str | None:
    """The list that says how a primitive runs: that of the outermost operation that it is a part of and that has one on
    this device, or its own."""
    lists = LISTS[device_type]
    for name in (*mode.operations, operation):
        if name in lists or name == AS_GIVEN:
            return lists.get(name)
    return None


def lower_dtype(x: Tensor) -> torch.dtype | None:
    """Inside of an `autocast`: what products of this tensor are taken in. For a primitive that casts by itself."""
    if mode.autocast is None or x.dtype is torch.float64:
        return None
    lower: torch.dtype | None = mode.autocast.dtypes.get(x.device.type)
    return lower


def _widest(values: Iterable[Any], device_type: str, lower: torch.dtype) -> torch.dtype:
    dtypes = {x.dtype for x in values if _is_eligible(x, device_type)} or {lower}
    return dtypes.pop() if len(dtypes) == 1 else torch.float32


def operation_of(function: Any, kwargs: dict[str, Any]) -> str | None:
    """The operation of the lists that one of PyTorch's functions is; None if it is none of them."""
    name = getattr(function, "__name__", "")
    if name.startswith("__"):  # an operator's; one that ends in _ alone works in place, and casts nothing
        name = name[2:-2]
    name = name.removeprefix("special_")
    name = OTHER_NAMES.get(name, name)
    if name not in NAMED:
        return None
    return name if kwargs.get("dtype") is None else AS_GIVEN  # who says in what to compute has the say
