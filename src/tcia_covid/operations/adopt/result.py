"""What adopting a folder came to, as values and as the command line's JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Literal

from tcia_covid.core.errors import EXIT_ARCHIVE, EXIT_OK, EXIT_PARTIAL

Mode = Literal["link", "move", "copy"]
"""How files get from their folder into the layout; see `adopt.bring`."""
MAX_DUPLICATES = 1000
"""Duplicates that are listed by name; all are counted."""


class Reason(str, Enum):
    """Why a file, or a series, was not adopted."""

    CHANGED = "changed"
    """A file's bytes are not those that the archive has a hash of."""
    CUT = "cut"
    """As `changed`, and the file ends in the middle of an element."""
    UNREADABLE = "unreadable"
    """The system does not give the file, or it is no DICOM file despite its name."""
    STRANGE = "strange"
    """The archive's series has no image of that SOPInstanceUID."""
    INCOMPLETE = "incomplete"
    """Images of the series lack here: the next download fetches them."""
    UNPROVEN = "unproven"
    """The archive has no hash of some images, so nobody knows whether these are right."""
    UNANSWERED = "unanswered"
    """No archive answered."""
    HELD = "held"
    """Another run works on the series."""


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """A file that was not adopted, and that no other file stands in for."""

    file: str
    """Relative to the folder that was adopted, with forward slashes."""
    reason: Reason
    detail: str
    series: str = ""
    """SeriesInstanceUID; empty where the file does not tell."""


@dataclass(frozen=True, slots=True)
class DuplicateFile:
    """A second file of one image."""

    file: str
    of: str
    """The file that was taken."""
    same_bytes: bool


@dataclass(frozen=True, slots=True)
class ForeignSeries:
    """A series that is not of the collection, or that no archive knows."""

    series: str
    images: int
    example: str
    """One of its files."""
    collection: str = ""
    """The collection that it is of, where that is known."""
    asked: bool = True
    """Whether the archives could be asked about it."""


@dataclass(frozen=True, slots=True)
class IncompleteSeries:
    """A series of the archive that did not become complete."""

    series: str
    collection: str
    reason: Reason
    detail: str
    staged: int
    """Images of it that wait in the layout for the next download."""
    expected: int | None
    """Images that the archive has on record."""


@dataclass(slots=True)
class SeriesCounts:
    """How many series there were, and what became of them."""

    found: int = 0
    adopted: int = 0
    already_complete: int = 0
    """Were complete in the layout before."""
    staged: int = 0
    """Incomplete or not proved yet, with images in the layout's staging."""
    left: int = 0
    """Nothing of them could be taken."""
    foreign: int = 0


@dataclass(slots=True)
class ImageCounts:
    """How many DICOM files there were, and what became of them."""

    found: int = 0
    adopted: int = 0
    already_complete: int = 0
    staged: int = 0
    unproven: int = 0
    """Left where they are: no hash tells whether they are right."""
    damaged: int = 0
    duplicate: int = 0
    foreign: int = 0


@dataclass(slots=True)
class OtherFiles:
    """What else was in the folder; none of it was touched."""

    not_dicom: int = 0
    links: int = 0
    """Symbolic links, which are never followed."""
    zips: list[str] = field(default_factory=list)
    """ZIP files, which are not looked into."""


@dataclass(slots=True)
class AdoptResult:
    """What `adopt` did."""

    directory: str
    output: str
    mode: Mode
    collection: str | None = None
    """The collection that was asked for; None for whichever the files are of."""
    series: SeriesCounts = field(default_factory=SeriesCounts)
    images: ImageCounts = field(default_factory=ImageCounts)
    files: OtherFiles = field(default_factory=OtherFiles)
    size: int = 0
    """Bytes of the images that were adopted."""
    not_removed: int = 0
    """Originals of images that stand, which `move` did not remove."""
    brought: Counter[str] = field(default_factory=Counter)
    """Images by the way they took: `link`, `reflink`, `copy`; `kept` in staging from before."""
    collections: Counter[str] = field(default_factory=Counter)
    """Series that were adopted, by collection."""
    left: list[IncompleteSeries] = field(default_factory=list)
    damaged: list[DamagedFile] = field(default_factory=list)
    foreign: list[ForeignSeries] = field(default_factory=list)
    duplicates: list[DuplicateFile] = field(default_factory=list)
    """The first of them; `images.duplicate` counts all."""
    notices: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 if all is in the layout, 1 if something is left, 3 if no archive answered for any.

        Series of other collections are something left only where no collection was asked for. A
        folder that an earlier run moved everything from has nothing left.
        """
        stray = bool(self.foreign) and self.collection is None
        taken = self.series.adopted or self.series.already_complete
        nothing = bool(self.series.found) and not taken
        if not (self.left or self.damaged or stray or nothing):
            return EXIT_OK
        return EXIT_ARCHIVE if nothing and self._unanswered else EXIT_PARTIAL

    @property
    def _unanswered(self) -> bool:
        return any(one.reason is Reason.UNANSWERED for one in self.left) or any(
            not one.asked for one in self.foreign
        )


def document(result: AdoptResult) -> dict[str, Any]:
    """The JSON document of `adopt --json`."""
    files = result.files
    return {
        "command": "adopt",
        "directory": result.directory,
        "output": result.output,
        "collection": result.collection,
        "mode": result.mode,
        "exit_code": result.exit_code,
        "seconds": round(result.seconds, 3),
        "series": asdict(result.series),
        "images": asdict(result.images),
        "bytes": {"adopted": result.size},
        "not_removed": result.not_removed,
        "brought": dict(result.brought),
        "collections": dict(result.collections),
        "files": {"not_dicom": files.not_dicom, "links": files.links, "zips": list(files.zips)},
        "left": [{**asdict(one), "reason": one.reason.value} for one in result.left],
        "damaged": [{**asdict(one), "reason": one.reason.value} for one in result.damaged],
        "foreign": [asdict(one) for one in result.foreign],
        "duplicates": [asdict(one) for one in result.duplicates],
        "notices": list(result.notices),
    }
