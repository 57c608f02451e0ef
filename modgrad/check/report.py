"""Report: what a gradient check found, to be asked (`bool(report)`, `report.faults`) or read (`str(report)`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Where(NamedTuple):
    """Which module, and which of its calls.

    path: dotted, from the model's named_modules, "" for the model itself; None for an operator, or a module that is
    not registered. kind: its class. name: both as one reads them, "body.3 (ReLU)", "Add in body (Residual)".
    """

    path: str | None
    kind: str
    name: str


@dataclass(frozen=True)
class Entry:
    """One derivative: of a module's outputs with respect to one input or parameter.

    of: "input 0", or the parameter's name. whole: whether a composite was compared from end to end.
    index, stated, measured, error: the element that is furthest off, relative to the larger of the two where the entry
        is wrong, to the largest derivative of the tensor where it is right; None where there was nothing to compare.
    compared, total: elements looked at, and there.   differing: how many of them differ (0 where the entry is right).
    factor: stated / measured, where that is the same for all elements.
    at_kinks: elements where the function has a kink. unmeasured: where differences do not settle on a derivative.
    problem: what went wrong where it was not a number, as an error in backward; "" otherwise.
    """

    where: Where
    of: str
    ok: bool
    whole: bool = False
    index: tuple[int, ...] | None = None
    stated: float | None = None
    measured: float | None = None
    error: float | None = None
    compared: int = 0
    total: int = 0
    differing: int = 0
    factor: float | None = None
    at_kinks: int = 0
    unmeasured: int = 0
    problem: str = ""

    @property
    def path(self) -> str | None:
        return self.where.path

    @property
    def module(self) -> str:
        """The module as one reads it: "body.3 (ReLU)"."""
        return self.where.name

    def __str__(self) -> str:
        name = f"{self.where.name}, {self.of}" if self.of else self.where.name
        if self.problem:
            return f"{name}: {self.problem}"
        if self.ok:
            return f"{name}: right, {self._elements()}"
        place = f" at [{', '.join(map(str, self.index))}]" if self.index else ""
        lines = [
            f"{name}: wrong{place}",
            f"    stated {self.stated:.8g}, measured {self.measured:.8g}, relative error {self.error:.2g}",
            f"    {self.differing} of {self._elements()} differ",
        ]
        if self.factor is not None:
            lines[-1] += f"; stated is {self.factor:.5g} times measured throughout"
        if self.at_kinks and not self.whole:
            lines.append("    at a kink, where any value between the slopes to the left and right would be right")
        return "\n".join(lines)

    def _elements(self) -> str:
        if self.whole and self.ok and self.index is None and self.error is not None:
            return "one direction"
        some = f"{self.compared:,}" if self.compared == self.total else f"{self.compared:,} of {self.total:,}"
        return f"{some} element{'' if some == '1' else 's'}"

    def row(self) -> tuple[str, str, str, str, str]:
        """For the table of those that are right."""
        remarks = []
        if self.at_kinks:
            remarks.append(f"{self.at_kinks} at a kink")
        if self.unmeasured:
            remarks.append(f"{self.unmeasured} not measured")
        name = f"{self.where.name}, from end to end" if self.whole else self.where.name
        return name, self.of, self._elements(), "" if self.error is None else f"{self.error:.1e}", ", ".join(remarks)


@dataclass(frozen=True)
class Report:
    """What `gradients` found. True if every derivative is right.

    model: the module's class. entries: one for each derivative, in the order of the calls, those of the composite from
    end to end last. notes: what was not compared, and why; what may be behind a fault. seed: of elements and gradients.
    """

    model: str
    entries: list[Entry]
    notes: list[str] = field(default_factory=list)
    seed: int = 0

    @property
    def ok(self) -> bool:
        return all(entry.ok for entry in self.entries)

    @property
    def faults(self) -> list[Entry]:
        """The entries that are wrong."""
        return [entry for entry in self.entries if not entry.ok]

    def __bool__(self) -> bool:
        return self.ok

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __str__(self) -> str:
        faults, count = self.faults, len(self.entries)
        if faults:
            one = len(faults) == 1
            lines = [f"{self.model}: {len(faults)} of {count} derivatives {'is' if one else 'are'} wrong", ""]
            lines += map(str, faults)
        else:
            lines = [f"{self.model}: {'the derivative is' if count == 1 else f'all {count} derivatives are'} right", ""]
            rows = [("module", "derivative of", "compared", "error", ""), *(entry.row() for entry in self.entries)]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            for row in rows:
                cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                lines.append(("  " + "   ".join(cells)).rstrip())
        notes = list(self.notes)
        if any(entry.compared < entry.total for entry in self.entries):
            notes.append(f"Where not all elements were compared, they were chosen at random, with seed {self.seed}.")
        if any(entry.unmeasured for entry in self.entries):
            notes.append(
                "Elements not measured: central differences do not settle there, as at a jump or the end of a domain."
            )
        if notes:
            lines += ["", *notes]
        return "\n".join(lines)
