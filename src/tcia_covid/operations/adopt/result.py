"""The result of `adopt`; the names of its fields are the keys of the JSON document."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Literal

from tcia_covid.core.errors import EXIT_ARCHIVE, EXIT_OK, EXIT_PARTIAL
from tcia_covid.core.models import name_series

Mode = Literal["link", "move", "copy"]
"""How files are placed in the layout; see `FilePlacer`."""
MAX_DUPLICATES = 1000
"""Duplicates that are listed by name; all are counted."""


class Reason(str, Enum):
    """Why a file or a series is not adopted."""

    CHANGED = "changed"
    """The bytes differ from the archive's, or from those of the image in the layout."""
    TRUNCATED = "truncated"
    """As `changed`, and the file ends in the middle of a data element."""
    UNREADABLE = "unreadable"
    """I/O error, or the file is not DICOM despite its name."""
    NOT_IN_SERIES = "not-in-series"
    """The archive's series, or the series in the layout, has no such SOPInstanceUID."""
    INCOMPLETE = "incomplete"
    """Images are missing or wrong: the next download fetches them."""
    NO_HASH = "no-hash"
    """The archive has no hash of some images, so these cannot be verified."""
    NO_RESPONSE = "no-response"
    """No archive responded."""
    LOCKED = "locked"
    """Another run works on the series."""


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """A file that was not adopted."""

    file: str
    """Relative to the folder, with forward slashes."""
    reason: Reason
    detail: str
    series: str = ""
    """SeriesInstanceUID; empty if the file has none."""


@dataclass(frozen=True, slots=True)
class DuplicateFile:
    """A second file of an image."""

    file: str
    duplicate_of: str
    """The file that was used."""
    same_bytes: bool


@dataclass(frozen=True, slots=True)
class ForeignSeries:
    """A series of another collection, or one that no archive knows."""

    series: str
    images: int
    example: str
    """One of its files."""
    collection: str = ""
    """Empty if not known."""
    looked_up: bool = True
    """Whether an archive could be asked about it."""


@dataclass(frozen=True, slots=True)
class IncompleteSeries:
    """A series of the archive that is not complete in the layout."""

    series: str
    collection: str
    reason: Reason
    detail: str
    staged: int
    """Images in staging, for the next download."""
    expected: int | None
    """Images that the archive has."""


@dataclass(slots=True)
class SeriesCounts:
    """Numbers of series."""

    found: int = 0
    adopted: int = 0
    already_complete: int = 0
    staged: int = 0
    """Incomplete or not verified, with images in staging."""
    skipped: int = 0
    """Incomplete, with no usable image."""
    foreign: int = 0


@dataclass(slots=True)
class ImageCounts:
    """Numbers of DICOM files."""

    found: int = 0
    adopted: int = 0
    already_complete: int = 0
    staged: int = 0
    unverified: int = 0
    """Not adopted: the archive has no hash of them."""
    damaged: int = 0
    duplicate: int = 0
    foreign: int = 0


@dataclass(slots=True)
class OtherFiles:
    """What else is in the folder; none of it is changed."""

    not_dicom: int = 0
    symlinks: int = 0
    """Never followed."""
    zip_files: list[str] = field(default_factory=list)
    """Never opened."""


@dataclass(slots=True)
class AdoptResult:
    """What `adopt` did."""

    directory: str
    output: str
    mode: Mode
    collection: str | None = None
    """The collection that was asked for; None for any."""
    series: SeriesCounts = field(default_factory=SeriesCounts)
    images: ImageCounts = field(default_factory=ImageCounts)
    files: OtherFiles = field(default_factory=OtherFiles)
    size: int = 0
    """Bytes of the adopted images."""
    not_removed: int = 0
    """Originals that `move` did not remove although their image is in the layout."""
    placed: dict[str, int] = field(default_factory=dict)
    """Images by method: `link`, `reflink`, `copy`; `staged` if in staging from an earlier run."""
    collections: dict[str, int] = field(default_factory=dict)
    """Adopted series by collection."""
    incomplete: list[IncompleteSeries] = field(default_factory=list)
    damaged: list[DamagedFile] = field(default_factory=list)
    foreign: list[ForeignSeries] = field(default_factory=list)
    duplicates: list[DuplicateFile] = field(default_factory=list)
    """The first ones; `images.duplicate` counts all."""
    notices: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 if everything is in the layout, 3 if nothing is and no archive responded, else 1.

        Foreign series count only if no collection was asked for.
        """
        foreign = bool(self.foreign) and self.collection is None
        in_layout = self.series.adopted or self.series.already_complete
        nothing = bool(self.series.found) and not in_layout
        if not (self.incomplete or self.damaged or foreign or nothing):
            return EXIT_OK
        return EXIT_ARCHIVE if nothing and self.lacks_response else EXIT_PARTIAL

    @property
    def lacks_response(self) -> bool:
        """Whether the archives did not respond for some series."""
        return any(series.reason is Reason.NO_RESPONSE for series in self.incomplete) or not all(
            series.looked_up for series in self.foreign
        )


def document(result: AdoptResult) -> dict[str, Any]:
    """The JSON document of `adopt --json`."""
    fields = asdict(result)
    size = fields.pop("size")
    for name in ("incomplete", "damaged", "foreign"):
        fields[name] = [name_series(entry) for entry in fields[name]]
    return {
        "command": "adopt",
        "exit_code": result.exit_code,
        "bytes": {"adopted": size},
        **fields,
    }
