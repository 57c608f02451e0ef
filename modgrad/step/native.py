"""A compiled program run through its C interface, K steps a call, by the few lines of driver.c."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from modgrad.step import cache
from modgrad.step.quiet import quiet

if TYPE_CHECKING:
    from modgrad.step.binding import Binding

_SOURCE = Path(__file__).with_name("driver.c")
DTYPES = {torch.float32: 6, torch.float64: 7, torch.float16: 5, torch.bfloat16: 15, torch.int64: 4, torch.int32: 3}
DTYPES |= {torch.int16: 2, torch.int8: 1, torch.uint8: 0, torch.bool: 11}

_VOID = ctypes.c_void_p
_INTS = ctypes.POINTER(ctypes.c_int64)


class _Stack(ctypes.Structure):
    _fields_ = [
        ("dim", ctypes.c_int64),
        ("sizes", _INTS),
        ("strides", _INTS),
        ("dtype", ctypes.c_int32),
        ("bytes", ctypes.c_int64),
    ]


class Native:
    """An AOTInductor model with a C interface, bound to the tensors that it changes.

    library: the model's shared object. It takes the leaves of `binding`, which it changes in place, then its numbers,
    then a batch like `batch`. loss: the dtype of what it gives.
    """

    def __init__(self, library: Path, binding: Binding, batch: Sequence[Tensor], loss: torch.dtype) -> None:
        self.binding = binding
        self._kinds = [(x.shape, x.dtype) for x in batch]
        self._model = ctypes.CDLL(str(library))
        self._container = _VOID()
        create = self._model.AOTInductorModelContainerCreateWithDevice
        if create(ctypes.byref(self._container), ctypes.c_size_t(1), b"cpu", None):
            raise RuntimeError(f"the compiled program {library} cannot be started")
        self._leaves, self._dtype = list(binding.leaves), loss
        capsules = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors(self._leaves)
        self._handles = (_VOID * len(capsules))(*map(_pointer, capsules))
        stacks = [*binding.numbers, *batch]
        self._stacks = (_Stack * len(stacks))(*map(_stack, stacks))
        self._numbers = len(binding.numbers)
        self._begin = (_VOID * len(stacks))(*(number.data_ptr() for number in binding.numbers))
        self._begin_many = (_VOID * len(stacks))()
        run = _driver().modgrad_run
        run.argtypes = [_VOID, _VOID, _VOID, _VOID, ctypes.c_size_t, _VOID, _VOID, ctypes.c_size_t]
        run.argtypes += [ctypes.c_int64, _VOID, ctypes.c_size_t]
        self._run = run
        self._fixed = (
            ctypes.addressof(_torch()),
            ctypes.cast(self._model.AOTInductorModelContainerRun, _VOID),
            self._container,
            ctypes.addressof(self._handles),
            len(self._handles),
            ctypes.addressof(self._stacks),
        )

    def takes(self, batch: Sequence[Any]) -> bool:
        """Whether the program is for such a batch."""
        if len(batch) != len(self._kinds):
            return False
        for x, (shape, dtype) in zip(batch, self._kinds, strict=True):
            if type(x) is not Tensor or x.dtype is not dtype or x.shape != shape:
                return False
        return True

    def run(self, batch: Sequence[Tensor]) -> Tensor:
        """Do one step. Returns its loss."""
        return self._go(self._begin, batch, torch.empty((), dtype=self._dtype), 1)

    def run_many(self, numbers: Sequence[Tensor], batch: Sequence[Tensor], steps: int) -> Tensor:
        """Do `steps` steps. numbers, batch: with a first dimension of `steps`. Returns the losses (steps)."""
        for i, number in enumerate(numbers):
            self._begin_many[i] = number.data_ptr()
        return self._go(self._begin_many, batch, torch.empty(steps, dtype=self._dtype), steps)

    def _go(self, begin: Any, batch: Sequence[Tensor], losses: Tensor, steps: int) -> Tensor:
        batch = [x if x.is_contiguous() else x.contiguous() for x in batch]
        position = self._numbers
        for x in batch:
            begin[position] = x.data_ptr()
            position += 1
        if self._run(*self._fixed, begin, position, steps, losses.data_ptr(), losses.element_size()):
            raise RuntimeError("the compiled step failed; what it printed above says why")
        torch._C._increment_version(self._leaves)  # so that a backward through what they were before is refused
        return losses

    def __del__(self) -> None:
        for handle in getattr(self, "_handles", ()):
            _torch_library().aoti_torch_delete_tensor_object(_VOID(handle))
        if getattr(self, "_container", None):
            self._model.AOTInductorModelContainerDelete(self._container)


def _pointer(capsule: Any) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = _VOID, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, None)


def _stack(like: Tensor) -> _Stack:
    """A stack of tensors of this shape, each contiguous."""
    contiguous = torch.empty(like.shape, device="meta")
    ints = ctypes.c_int64 * like.dim()
    bytes = like.numel() * like.element_size()
    return _Stack(like.dim(), ints(*like.shape), ints(*contiguous.stride()), DTYPES[like.dtype], bytes)


@once
def _torch_library() -> Any:
    (path,) = (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")
    return ctypes.CDLL(str(path))


@once
def _torch() -> Any:
    """The functions of libtorch that the driver calls, in its order."""
    names = ["new_tensor_handle", "delete_tensor_object", "get_data_ptr", "create_tensor_from_blob"]
    return (_VOID * len(names))(*(ctypes.cast(getattr(_torch_library(), f"aoti_torch_{n}"), _VOID) for n in names))


@once
def _driver() -> Any:
    """The driver, compiled if it is not there yet."""
    name = cache.key([_SOURCE.read_text()])
    entry, _, _ = cache.find_or_make(name, _build)
    return ctypes.CDLL(str(entry / "driver.so"))


def compiler() -> list[str]:
    """The command of the C compiler. Raises where there is none."""
    chosen = os.environ.get("CC")
    candidates = [shlex.split(chosen)] if chosen else [["cc"], ["gcc"], ["clang"]]
    for command in candidates:
        if shutil.which(command[0]):
            return command
    raise RuntimeError(
        f"compiling a step needs a C and a C++ compiler, and {chosen or 'none'} was{' not' if chosen else ''} found: "
        "install gcc and g++, or clang"
    )


def refuse_without_compiler() -> None:
    """Raise where a compiler is missing, before time is spent."""
    with quiet():
        from torch._inductor.cpp_builder import get_cpp_compiler  # noqa: PLC0415 (takes seconds to import)

    compiler()
    try:
        get_cpp_compiler()
    except Exception as error:
        raise RuntimeError(f"compiling a step needs a C++ compiler: install g++ or clang++. {error}") from error


def _build(folder: Path) -> dict[str, Any]:
    command = [*compiler(), "-O2", "-shared", "-fPIC", str(_SOURCE), "-o", str(folder / "driver.so")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return {}
