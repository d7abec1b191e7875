"""What a run came to as values: beside the images, beside the catalog, and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tcia_covid.core.errors import (
    EXIT_ARCHIVE,
    EXIT_DESTINATION,
    EXIT_OK,
    EXIT_PARTIAL,
    TciaCovidError,
)
from tcia_covid.core.models import ADOPTED, Check, Failure, Outcome, Receipt, Series, State


@dataclass(frozen=True, slots=True)
class Difference:
    """One series that an archive and the catalog describe differently."""

    series: str
    images: tuple[int | None, int | None]
    """As the archive, as the catalog has it."""
    sizes: tuple[int | None, int | None]

    @property
    def fewer(self) -> bool:
        """Whether the archive lists fewer images than the catalog."""
        listed, known = self.images
        return listed is not None and known is not None and listed < known


@dataclass(frozen=True, slots=True)
class Comparison:
    """An archive's list of one collection beside the catalog's."""

    collection: str
    """Empty where single series were asked for."""
    listed: int
    """Series in the archive's list."""
    known: int
    """Series in the catalog."""
    only_nbia: list[str]
    only_catalog: list[str]
    different: list[Difference]

    @property
    def same(self) -> int:
        """Series that both describe alike."""
        return self.listed - len(self.only_nbia) - len(self.different)

    @property
    def differs(self) -> bool:
        """Whether there is any difference."""
        return bool(self.only_nbia or self.only_catalog or self.different)


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
    """NBIA's lists that differ from the catalog, before the filters."""
    notices: list[str] = field(default_factory=list)
    """Things worth knowing that did not fail anything."""
    outdated_reports: list[str] = field(default_factory=list)
    """Report files that do not cover what is complete, relative to the output folder."""
    error: TciaCovidError | None = None
    """What ended the run before all series were looked at."""


class SummaryBuilder:
    """Sums up a download while it runs; receipts are counted, not kept."""

    def __init__(self, targets: Iterable[str], output: str) -> None:
        self.summary = Summary(targets=list(targets), output=output)
        self._sources: Counter[str] = Counter()
        self._fetched: Counter[str] = Counter()
        self._archive_failures = 0

    def selected(self, series: Iterable[Series]) -> None:
        """Count what is asked for."""
        for one in series:
            self.summary.selected += 1
            self.summary.images_expected += one.image_count or 0

    def outcome(self, outcome: Outcome) -> None:
        """Count the end of one series."""
        summary = self.summary
        if outcome.receipt is not None:
            already = outcome.state is State.ALREADY
            summary.already_complete += already
            summary.complete += 1
            self._receipt(outcome.receipt)
            if not already:
                self._fetched.update(_sources(outcome.receipt))
        elif outcome.failure is not None:
            summary.failed += 1
            summary.failures.append(outcome.failure)
            self._archive_failures += outcome.failure.reason == "archive"

    def forget_complete(self) -> None:
        """Set the numbers of complete series back to zero, for a new count."""
        summary = self.summary
        summary.complete = summary.already_complete = 0
        summary.images_stored = summary.bytes_stored = 0
        summary.checked_md5 = summary.checked_size = 0
        self._sources.clear()
        self._fetched.clear()

    def _receipt(self, receipt: Receipt) -> None:
        summary = self.summary
        summary.images_stored += len(receipt.images)
        summary.bytes_stored += receipt.size
        if receipt.check is Check.SIZE:
            summary.checked_size += 1
        else:
            summary.checked_md5 += 1
        self._sources.update(_sources(receipt))

    def finish(
        self, failures: Iterable[Failure], notices: Iterable[str], ended: TciaCovidError | None
    ) -> Summary:
        """Give the summary, with the exit code that the whole deserves.

        Args:
            failures: of listings; series that no list has were asked for, too.
            notices: worth a line to the user.
            ended: what ended the run early.
        """
        summary = self.summary
        listings = list(failures)
        unlisted = sum(bool(one.series) for one in listings)
        summary.selected += unlisted
        summary.failed += unlisted
        self._archive_failures += sum(one.reason == "archive" for one in listings)
        summary.failures = listings + summary.failures
        summary.notices = [*notices, *summary.notices]
        summary.sources = {"nbia": 0, "idc": 0} | dict(sorted(self._sources.items()))
        summary.fetched_from = dict(sorted(self._fetched.items()))
        summary.remaining = summary.selected - summary.complete - summary.failed
        summary.error = ended
        summary.exit_code = self._exit_code(ended)
        return summary

    def _exit_code(self, ended: TciaCovidError | None) -> int:
        summary = self.summary
        if ended is not None:
            return ended.exit_code
        if not summary.failures and not summary.remaining:
            return EXIT_OK
        if summary.failures and all(one.reason == "locked" for one in summary.failures):
            return EXIT_DESTINATION
        if not summary.complete and 0 < self._archive_failures == len(summary.failures):
            return EXIT_ARCHIVE
        return EXIT_PARTIAL


def _sources(receipt: Receipt) -> set[str]:
    """The archives that images of a series came from; images of earlier runs do not know theirs."""
    sources = {image.source for image in receipt.images}
    return sources - {ADOPTED} or sources
