"""Sequences of unlike lengths, for recurrent layers: packed and padded, and from one to the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Call, Primitive
from modgrad.graph.errors import describe

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class TakeRows(Primitive):
    """Rows of a padded tensor (A, B, ...), in the order of their numbers: (R, ...)."""

    def forward(self, call: Any, input: Tensor, rows: Tensor) -> Tensor:
        call.shape = input.shape
        call.save(rows)
        return functional.take_rows(input, rows)

    def backward(self, call: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rows,) = call.saved
        return functional.take_rows_backward(grad, rows, call.shape), None


class PlaceRows(Primitive):
    """A padded tensor (A, B, ...) with the input's rows (R, ...) at their numbers, and `value` elsewhere."""

    def forward(self, call: Call, input: Tensor, rows: Tensor, first: int, second: int, value: float) -> Tensor:
        call.save(rows)
        return functional.place_rows(input, rows, first, second, value)

    def backward(self, call: Call, grad: Tensor) -> tuple[Tensor, None]:
        (rows,) = call.saved
        return functional.place_rows_backward(grad, rows), None


_TAKE, _PLACE = TakeRows(), PlaceRows()


class _Packed(NamedTuple):
    data: Any
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences of unlike lengths without padding, as recurrent layers take and give them.

    data (R, ...): step after step, the longest sequence first; a tensor or a Variable. batch_sizes: how many sequences
    have each step, int64 on the CPU. sorted_indices: of each sequence, as it lies here, its number in the batch, or
    None if they were in order; unsorted_indices: the other way round. Made by `pack_sequence` and
    `pack_padded_sequence`.
    """

    sizes: tuple[int, ...]  # batch_sizes as numbers,
    columns: list[int]  # and sorted_indices: there if the functions below made it, so that it can be used while traced

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            data, batch_sizes = data
        if not isinstance(batch_sizes, Tensor) or batch_sizes.device.type != "cpu":
            raise ValueError(
                f"PackedSequence: batch_sizes is {describe(batch_sizes)}: expected a tensor on the CPU, as "
                "pack_sequence and pack_padded_sequence make it"
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """With data on another device or of another dtype, and the indices on that device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = (None if i is None else i.to(data.device) for i in self[2:])
        return _known(self, type(self)(data, self.batch_sizes, *indices))

    def cpu(self) -> PackedSequence:
        return self.to("cpu")

    def cuda(self, device: Any = "cuda") -> PackedSequence:
        return self.to(torch.device("cuda", device) if isinstance(device, int) else device)

    def double(self) -> PackedSequence:
        return self.to(torch.float64)

    def float(self) -> PackedSequence:
        return self.to(torch.float32)

    def half(self) -> PackedSequence:
        return self.to(torch.float16)

    @property
    def is_cuda(self) -> bool:
        return bool(self.data.device.type == "cuda")


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes this one."""
    if permutation is None:
        return None
    places = torch.arange(permutation.numel(), device=permutation.device)
    return torch.empty_like(permutation).scatter_(0, permutation, places)


def pack_padded_sequence(
    input: Any, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Without the padding.   input (T, N, ...), or (N, T, ...) if batch_first; lengths (N), from 1 to T.

    enforce_sorted: raise unless the longest sequence comes first, and so on; if False, they are sorted.

    >>> from modgrad import nn
    >>> packed = nn.utils.rnn.pack_padded_sequence(torch.tensor([[1, 2, 3], [4, 5, 0]]), [3, 2], batch_first=True)
    >>> packed.data, packed.batch_sizes
    (tensor([1, 4, 2, 5, 3]), tensor([2, 2, 1]))
    """
    known: Any = _numbers(lengths, "pack_padded_sequence", "lengths")
    count, steps = (0, 0) if input.dim() < 2 else tuple(input.shape[:2])[:: 1 if batch_first else -1]
    if len(known) != count or min(known) < 1 or max(known) > steps:
        form = "(N, T, ...)" if batch_first else "(T, N, ...)"
        raise ValueError(
            f"pack_padded_sequence was given {describe(input)} and lengths {known}: expected an input {form}, and a "
            "length from 1 to T for each of the N sequences"
        )
    columns = list(range(count))
    if not enforce_sorted:
        columns.sort(key=known.__getitem__, reverse=True)
    elif any(a < b for a, b in pairwise(known)):
        raise ValueError(
            f"pack_padded_sequence: lengths {known} are not sorted, the longest first. Write enforce_sorted=False"
        )
    sizes = functional.packed_sizes(known)
    rows = functional.packed_rows(sizes, columns, steps, batch_first)
    data = _TAKE(input, torch.tensor(rows, device=input.device))
    order = None if enforce_sorted else torch.tensor(columns, device=input.device)
    packed = PackedSequence(data, torch.tensor(sizes), order)
    packed.sizes, packed.columns = tuple(sizes), columns
    return packed


def pad_packed_sequence(
    sequence: Any, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Any, Tensor]:
    """With padding, and the lengths: (T, N, ...), or (N, T, ...) if batch_first, and (N), in the batch's own order.

    total_length: T, if it is to be more than the longest sequence has.
    """
    data, sizes, columns = sequence.data, sizes_of(sequence), columns_of(sequence)
    columns = list(range(sizes[0])) if columns is None else columns
    steps = len(sizes) if total_length is None else total_length
    if steps < len(sizes):
        raise ValueError(
            f"pad_packed_sequence(total_length={total_length}): the longest sequence has {len(sizes)} steps"
        )
    rows = torch.tensor(functional.packed_rows(sizes, columns, steps, batch_first), device=data.device)
    shape = (sizes[0], steps) if batch_first else (steps, sizes[0])
    lengths = [0] * sizes[0]
    for size in sizes:
        for column in columns[:size]:
            lengths[column] += 1
    return _PLACE(data, rows, *shape, padding_value), torch.tensor(lengths)


def pad_sequence(
    sequences: Iterable[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Any:
    """Sequences (L, ...), L of each its own, as one tensor (T, N, ...), or (N, T, ...) if batch_first.

    padding_side: where padding goes, "right" after a sequence or "left" before it.

    >>> from modgrad import nn
    >>> nn.utils.rnn.pad_sequence([torch.tensor([1, 2]), torch.tensor([3])], batch_first=True)
    tensor([[1, 2],
            [3, 0]])
    """
    given = list(sequences)
    if not given or any(not isinstance(x, Tensor) or not x.dim() or x.shape[1:] != given[0].shape[1:] for x in given):
        raise ValueError(
            f"pad_sequence was given {[describe(x) for x in given]}: expected tensors (L, ...), alike in all but L"
        )
    if padding_side not in ("right", "left"):
        raise ValueError(f"pad_sequence(padding_side={padding_side!r}): expected 'right' or 'left'")
    steps, count = max(x.shape[0] for x in given), len(given)
    rows = []
    for n, x in enumerate(given):
        start = 0 if padding_side == "right" else steps - x.shape[0]
        along, first = (1, n * steps + start) if batch_first else (count, start * count + n)
        rows += [first + along * t for t in range(x.shape[0])]
    shape = (count, steps) if batch_first else (steps, count)
    data = torch.cat(given)
    return _PLACE(data, torch.tensor(rows, dtype=torch.int64, device=data.device), *shape, padding_value)


def unpad_sequence(padded_sequences: Any, lengths: Tensor | Sequence[int], batch_first: bool = False) -> list[Any]:
    """The sequences (L, ...) that were padded.   padded_sequences (T, N, ...), or (N, T, ...); lengths (N)."""
    known = _numbers(lengths, "unpad_sequence", "lengths")
    dim = 0 if batch_first else 1
    if padded_sequences.dim() < 2 or len(known) != padded_sequences.shape[dim]:
        raise ValueError(
            f"unpad_sequence was given {describe(padded_sequences)} and lengths {known}: expected a length for each "
            f"of the sequences, which are numbered by dimension {dim}"
        )
    return [
        padded_sequences[n, :length] if batch_first else padded_sequences[:length, n] for n, length in enumerate(known)
    ]


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (L, ...) without padding; enforce_sorted as in `pack_padded_sequence`."""
    given = list(sequences)
    return pack_padded_sequence(pad_sequence(given), [x.shape[0] for x in given], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: Any) -> list[Any]:
    """The sequences (L, ...) that were packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


def sizes_of(packed: Any) -> tuple[int, ...]:
    """The batch_sizes of a PackedSequence, of ours or of PyTorch's."""
    known = getattr(packed, "sizes", None)
    return tuple(_numbers(packed.batch_sizes, "PackedSequence", "batch_sizes")) if known is None else known


def columns_of(packed: Any) -> list[int] | None:
    """The sorted_indices of a PackedSequence, of ours or of PyTorch's."""
    if packed.sorted_indices is None:
        return None
    known = getattr(packed, "columns", None)
    return _numbers(packed.sorted_indices, "PackedSequence", "sorted_indices") if known is None else known


def with_data(packed: Any, data: Any) -> Any:
    """The same with other data."""
    return _known(packed, type(packed)(data, *packed[1:]))


def _known(packed: Any, other: Any) -> Any:
    """`other`, about which the same numbers are known as about `packed`."""
    if hasattr(packed, "sizes"):
        other.sizes, other.columns = packed.sizes, packed.columns
    return other


def _numbers(given: Tensor | Sequence[int], who: str, name: str) -> list[int]:
    """Lengths, sizes or indices as whole numbers of Python's."""
    if isinstance(given, Tensor) and type(given) is not Tensor:
        raise NotImplementedError(
            f"{who}: {name} decide the shapes, and in a step that is being traced they are not known. Give lengths as "
            "a list of numbers that never change; or the padded tensor to the layer, and read each sequence's output "
            "at its own length, output[length - 1, n]"
        )
    return [int(n) for n in (given.tolist() if isinstance(given, Tensor) else given)]
