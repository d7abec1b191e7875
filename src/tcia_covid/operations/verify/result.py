"""What a check found, as values and as the contract's JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum, auto
from typing import Any

from tcia_covid.core.errors import EXIT_ARCHIVE, EXIT_OK, EXIT_PARTIAL
from tcia_covid.store.discovery import UncheckedFolder


class Reason(str, Enum):
    """What is wrong with a file."""

    MISSING = "missing"
    """A receipt names it, it is not there."""
    CHANGED = "changed"
    """Its bytes are not those of its receipt, or the archive's are others by now."""
    UNREADABLE = "unreadable"
    """The system does not give its bytes, or they are no sound DICOM file."""
    FOREIGN = "foreign"
    """An image of another series, where an image of the series belongs."""
    UNEXPECTED = "unexpected"
    """No receipt names it: it is not this program's, and nothing is wrong with it."""


class Verdict(Enum):
    """What an archive's hash says of a series."""

    PROVED = auto()
    DIFFERING = auto()
    WITHOUT_HASH = auto()
    UNANSWERED = auto()


@dataclass(frozen=True, slots=True)
class Damage:
    """One file that is not as it should be."""

    series: str
    """SeriesInstanceUID; empty for a file that belongs to none."""
    file: str
    """Relative to the folder that was checked, with forward slashes."""
    reason: Reason
    detail: str = ""
    mendable: bool = True
    """Whether the next download mends it."""
    option: str = ""
    """What that download needs for it: `--supporting`, `--update`, or nothing more."""


@dataclass(frozen=True, slots=True)
class UnexpectedFile:
    """A file that no receipt names."""

    series: str
    """SeriesInstanceUID; empty where the file belongs to none."""
    file: str
    """Relative to the folder that was checked, with forward slashes."""
    detail: str


@dataclass(slots=True)
class VerifyCounts:
    """How many were checked, and how they were found."""

    checked: int = 0
    intact: int = 0
    damaged: int = 0


@dataclass(slots=True)
class OnlineCounts:
    """What the archive's own hashes said of the series that are intact on disk."""

    proved: int = 0
    differing: int = 0
    without_hash: int = 0
    """Series that the archive has no hash for, or none that covers every image."""
    unanswered: int = 0
    """Series that the archive did not answer for."""


@dataclass(slots=True)
class VerifyResult:
    """What `verify` found."""

    output: str
    """The folder that was checked."""
    strict: bool = False
    """Whether unexpected files give exit code 1."""
    series: VerifyCounts = field(default_factory=VerifyCounts)
    images: VerifyCounts = field(default_factory=VerifyCounts)
    """Images that receipts name."""
    size: int = 0
    """Bytes of the files that were checked."""
    damage: list[Damage] = field(default_factory=list)
    unexpected: list[UnexpectedFile] = field(default_factory=list)
    unproven: int = 0
    """Intact series with images that no hash of an archive ever proved."""
    unchecked: list[UncheckedFolder] = field(default_factory=list)
    """Folders with images that no receipt covers."""
    outdated_reports: list[str] = field(default_factory=list)
    """Report files that are missing, or do not cover what is complete; no damage: the images are
    what the receipts say."""
    under_way: int = 0
    """Series that were left out, for a running download works on them."""
    online: OnlineCounts | None = None
    """None where the archive was not asked."""
    noted: bool = True
    """Whether what was found could be noted in the tree, for the next download to mend."""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """What the command line ends with.

        0, or 1 for damage, images without receipts, unexpected files if `strict`, or an archive
        that did not answer for some series, 3 for one that answered for none.
        """
        online = self.online
        lacking = self.damage or self.unchecked or (self.strict and self.unexpected)
        if lacking or online is None or not online.unanswered:
            return EXIT_PARTIAL if lacking else EXIT_OK
        answered = online.proved + online.without_hash
        return EXIT_PARTIAL if answered else EXIT_ARCHIVE


def document(result: VerifyResult) -> dict[str, Any]:
    """The JSON document of `verify --json`."""
    return {
        "command": "verify",
        "output": result.output,
        "exit_code": result.exit_code,
        "seconds": round(result.seconds, 3),
        "series": {
            **asdict(result.series),
            "unproven": result.unproven,
            "under_way": result.under_way,
        },
        "images": asdict(result.images),
        "bytes": {"checked": result.size},
        "unchecked": [asdict(folder) for folder in result.unchecked],
        "outdated_reports": result.outdated_reports,
        "damage": [_damage(found) for found in result.damage],
        "unexpected": [asdict(found) for found in result.unexpected],
        "online": asdict(result.online) if result.online else None,
    }


def _damage(found: Damage) -> dict[str, Any]:
    return {
        "series": found.series,
        "file": found.file,
        "reason": found.reason.value,
        "detail": found.detail,
        "mendable": found.mendable,
        "option": found.option,
    }
