"""Measurements as a table and as JSON."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tcia_covid.formats.inflate import DEFAULT
from tests.benchmarks.runs import Cost

_MB = 1e6
_HEADS = ("", "what", "wall s", "CPU s", "peak MB", "MB", "MB/s", "limit", "ratio", "target", "")


@dataclass(frozen=True, slots=True)
class Target:
    """One promise, and whether it was kept."""

    text: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement next to its limits."""

    case: str
    what: str
    cost: Cost
    stored: int = 0
    """Bytes of DICOM that the run was about."""
    limits: dict[str, float] = field(default_factory=dict)
    """Seconds that the same takes at best, by what was measured; the first is compared with."""
    ratio: float | None = None
    """Of the limit that was reached; 1 is all of it."""
    targets: tuple[Target, ...] = ()
    remarks: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Bytes of DICOM a second."""
        return self.stored / self.cost.wall

    @property
    def received(self) -> int:
        """Bytes that came over the network."""
        return int(self.cost.document.get("bytes", {}).get("received", 0))

    @property
    def kept(self) -> bool:
        """Whether all targets were met."""
        return all(target.kept for target in self.targets)


def at_least(ratio: float, wanted: float, text: str) -> Target:
    """The target to reach a share of a limit."""
    return Target(f"{wanted:.2f} {text}", ratio >= wanted)


def below(value: float, wanted: float, text: str) -> Target:
    """The target to stay below a figure."""
    return Target(f"< {wanted:g} {text}", value < wanted)


def table(rows: Sequence[Row], *, judged: bool) -> str:
    """The rows for people.

    Args:
        rows: what was measured.
        judged: whether targets mean something.
    """
    lines = [_HEADS, *(_cells(row, judged=judged) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(_HEADS))]
    left = {0, 1, 7, 9, 10}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def document(rows: Sequence[Row], *, scale: float, repeat: int) -> dict[str, Any]:
    """The rows for programs."""
    return {
        "machine": machine(),
        "scale": scale,
        "repeat": repeat,
        "rows": [_object(row) for row in rows],
    }


def machine() -> dict[str, Any]:
    """Where it was measured."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "inflate": DEFAULT.name,
        "load": os.getloadavg()[0],
    }


def _cells(row: Row, *, judged: bool) -> tuple[str, ...]:
    name, seconds = next(iter(row.limits.items()), ("", 0.0))
    verdict = ("ok" if row.kept else "MISSED") if judged and row.targets else ""
    return (
        row.case,
        row.what,
        f"{row.cost.wall:.2f}",
        f"{row.cost.cpu:.2f}",
        f"{row.cost.memory / _MB:.0f}",
        f"{row.stored / _MB:,.0f}" if row.stored else "",
        f"{row.rate / _MB:.0f}" if row.stored else "",
        f"{name} {seconds:.2f} s" if name else "",
        f"{row.ratio:.2f}" if row.ratio is not None else "",
        ", ".join(target.text for target in row.targets),
        verdict,
    )


def _object(row: Row) -> dict[str, Any]:
    return {
        "case": row.case,
        "what": row.what,
        "wall": row.cost.wall,
        "cpu": row.cost.cpu,
        "peak_memory": row.cost.memory,
        "minor_faults": row.cost.faults,
        "bytes_stored": row.stored,
        "bytes_received": row.received,
        "limits": row.limits,
        "ratio": row.ratio,
        "targets": [asdict(target) for target in row.targets],
        "remarks": row.remarks,
    }
