"""The result of `verify`; the names of its fields are the keys of the JSON document."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from tcia_covid.core.errors import EXIT_ARCHIVE, EXIT_OK, EXIT_PARTIAL
from tcia_covid.core.models import name_series
from tcia_covid.store.discovery import UncheckedFolder


class Reason(str, Enum):
    """What is wrong with a file."""

    MISSING = "missing"
    """It is in a receipt, but does not exist."""
    CHANGED = "changed"
    """Its bytes differ from its receipt, or the archive has another version now."""
    UNREADABLE = "unreadable"
    """I/O error, or not a valid DICOM file."""
    WRONG_SERIES = "wrong-series"
    """An image of another series under the name of an image of this one."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that failed verification."""

    series: str
    """SeriesInstanceUID; empty for a file that belongs to no series."""
    file: str
    """Relative to the folder that was checked, with forward slashes."""
    reason: Reason
    detail: str = ""
    repairable: bool = True
    """Whether the next download repairs it."""
    option: str = ""
    """What that download needs for it: `--supporting`, `--update`, or nothing."""


@dataclass(frozen=True, slots=True)
class UnexpectedFile:
    """A file that is in no receipt: not this program's, and no damage."""

    series: str
    """SeriesInstanceUID if it is an image, else empty."""
    file: str
    """Relative to the folder that was checked, with forward slashes."""
    detail: str


@dataclass(slots=True)
class ImageCounts:
    """Numbers of images that are in receipts."""

    checked: int = 0
    intact: int = 0
    damaged: int = 0


@dataclass(slots=True)
class SeriesCounts(ImageCounts):
    """Numbers of series that have receipts."""

    unverified: int = 0
    """Intact series with images that no hash of an archive ever verified."""
    in_progress: int = 0
    """Not checked, because another run works on them."""


@dataclass(slots=True)
class OnlineCounts:
    """Numbers of intact series by what the archive's hash says."""

    verified: int = 0
    changed: int = 0
    no_hash: int = 0
    """The archive has no hash of the series, or none that covers every image."""
    no_response: int = 0


@dataclass(slots=True)
class VerifyResult:
    """What `verify` found."""

    output: str
    """The folder that was checked."""
    strict: bool = False
    """Whether unexpected files give exit code 1."""
    series: SeriesCounts = field(default_factory=SeriesCounts)
    images: ImageCounts = field(default_factory=ImageCounts)
    size: int = 0
    """Bytes of the images, by the receipts."""
    damage: list[Damage] = field(default_factory=list)
    unexpected: list[UnexpectedFile] = field(default_factory=list)
    unchecked: list[UncheckedFolder] = field(default_factory=list)
    """Folders with images that are in no receipt."""
    outdated_reports: list[str] = field(default_factory=list)
    """Report files that are missing or out of date; no damage, because the images are intact."""
    online: OnlineCounts | None = None
    """None if the archive was not asked."""
    recorded: bool = True
    """Whether the damage is recorded in the tree, so that the next download repairs it."""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0, or 1 if files are damaged or not covered by receipts (`strict`: or unexpected).

        Else 3 if the archive responded for no series, 1 if not for all.
        """
        if self.damage or self.unchecked or (self.strict and self.unexpected):
            return EXIT_PARTIAL
        if self.online is None or not self.online.no_response:
            return EXIT_OK
        return EXIT_PARTIAL if self.online.verified + self.online.no_hash else EXIT_ARCHIVE


def document(result: VerifyResult) -> dict[str, Any]:
    """The JSON document of `verify --json`."""
    fields = asdict(result)
    size = fields.pop("size")
    return {
        "command": "verify",
        "exit_code": result.exit_code,
        "bytes": {"checked": size},
        **fields,
        "damage": [name_series(entry) for entry in fields["damage"]],
        "unexpected": [name_series(entry) for entry in fields["unexpected"]],
    }
