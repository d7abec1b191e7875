"""What a run came to as values: beside the images, beside the catalogue, and in all."""

from __future__ import annotations

from dataclasses import dataclass, field

from tcia_covid.errors import TciaCovidError
from tcia_covid.model import Failure


@dataclass(frozen=True, slots=True)
class Difference:
    """One series that an archive and the catalogue describe differently."""

    series: str
    images: tuple[int | None, int | None]
    """As the archive, as the catalogue has it."""
    sizes: tuple[int | None, int | None]

    @property
    def fewer(self) -> bool:
        """Whether the archive lists fewer images than the catalogue."""
        listed, known = self.images
        return listed is not None and known is not None and listed < known


@dataclass(frozen=True, slots=True)
class Comparison:
    """An archive's list of one collection beside the catalogue's."""

    collection: str
    """Empty where single series were asked for."""
    listed: int
    """Series in the archive's list."""
    known: int
    """Series in the catalogue."""
    only_nbia: list[str]
    only_catalogue: list[str]
    different: list[Difference]

    @property
    def same(self) -> int:
        """Series that both describe alike."""
        return self.listed - len(self.only_nbia) - len(self.different)

    @property
    def differs(self) -> bool:
        """Whether there is any difference."""
        return bool(self.only_nbia or self.only_catalogue or self.different)


@dataclass(frozen=True, slots=True)
class SupportingFile:
    """A file beside the images that stands as its receipt says."""

    file: str
    """Its name in the folder `supporting`."""
    title: str
    kind: str
    size: int
    sha256: str
    check: str
    """How it was checked: `sha256`, `size` or `unchecked`."""
    fetched: bool
    """Whether this run fetched it; else it was there."""


@dataclass(frozen=True, slots=True)
class SupportingFiles:
    """What a run came to with the supporting files of one collection."""

    collection: str
    files: tuple[SupportingFile, ...]
    failed: int
    told: str
    """The same in words."""


@dataclass(slots=True)
class Summary:
    """What a download did."""

    targets: list[str]
    output: str
    exit_code: int = 0
    seconds: float = 0.0
    selected: int = 0
    """Series that were asked for, those that no archive lists included."""
    complete: int = 0
    """Series that are there now, those of earlier runs included."""
    already_complete: int = 0
    failed: int = 0
    remaining: int = 0
    images_expected: int = 0
    images_stored: int = 0
    bytes_stored: int = 0
    """Bytes on disk of every selected series that is complete."""
    bytes_received: int = 0
    """Bytes that came over the network in this run."""
    checked_md5: int = 0
    checked_size: int = 0
    sources: dict[str, int] = field(default_factory=dict)
    """Complete series by the archive that images of theirs came from."""
    fetched_from: dict[str, int] = field(default_factory=dict)
    """The same of the series that this run completed."""
    kept_series: int = 0
    """Series that are begun: some of their images are kept for the next run."""
    kept_bytes: int = 0
    supporting: list[SupportingFiles] = field(default_factory=list)
    """By collection, where they were asked for."""
    failures: list[Failure] = field(default_factory=list)
    differences: list[Comparison] = field(default_factory=list)
    """NBIA's lists that differ from the catalogue, before the filters."""
    notices: list[str] = field(default_factory=list)
    """Things worth knowing that did not fail anything."""
    outdated_reports: list[str] = field(default_factory=list)
    """Report files that do not cover what is complete, relative to the output folder."""
    error: TciaCovidError | None = None
    """What ended the run before all series were looked at."""
