"""The result of a run: the summary, supporting files, differences from the catalog, as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from tcia_covid.core.errors import (
    EXIT_ARCHIVE,
    EXIT_DESTINATION,
    EXIT_OK,
    EXIT_PARTIAL,
    ArchiveError,
    FailureReason,
    TciaCovidError,
)
from tcia_covid.core.models import ADOPTED, SERIES_NAMES, Check, Failure, Outcome, Series, State
from tcia_covid.core.units import count, format_size

_MAX_ROWS = 20
"""Of a table in a notebook."""


class Difference(NamedTuple):
    """One series that an archive and the catalog describe differently."""

    series: str
    images: tuple[int | None, int | None]
    """In the archive, and in the catalog."""
    sizes: tuple[int | None, int | None]

    @property
    def fewer(self) -> bool:
        """Whether the archive lists fewer images than the catalog."""
        listed, known = self.images
        return listed is not None and known is not None and listed < known


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences between an archive's list of one collection and the catalog."""

    collection: str
    """Empty for single series."""
    listed: int
    """Series in the archive's list."""
    known: int
    """Series in the catalog."""
    only_nbia: list[str]
    only_catalog: list[str]
    different: list[Difference]

    @property
    def same(self) -> int:
        """Series that both describe equally."""
        return self.listed - len(self.only_nbia) - len(self.different)

    @property
    def differs(self) -> bool:
        """Whether there is any difference."""
        return bool(self.only_nbia or self.only_catalog or self.different)


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """What a target was resolved to."""

    target: str
    """As given."""
    kind: str
    """`collection`, `SeriesInstanceUID`, `StudyInstanceUID`, `PatientID`, `crdc_series_uuid`, or
    the format of a manifest."""
    collections: list[str]
    series: int
    """The series that it names, before filters."""

    @property
    def text(self) -> str:
        """The same in words."""
        owners = ", ".join(self.collections)
        link = " " if self.kind == "collection" else " of "
        of = link + owners if owners else ""
        return f"{self.target}: {self.kind}{of}, {count(self.series, 'series')}"


@dataclass(frozen=True, slots=True)
class SupportingFile:
    """A supporting file that is stored as its receipt says."""

    file: str
    """Its path in the folder `supporting`."""
    title: str
    kind: str
    size: int
    sha256: str
    check: str
    """How it was checked: `sha256`, `size` or `unchecked`."""
    fetched: bool
    """Whether this run downloaded it."""


@dataclass(slots=True)
class SupportingFiles:
    """The result for the supporting files of one collection."""

    collection: str
    files: list[SupportingFile] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def fetched(self) -> list[SupportingFile]:
        """The files that this run downloaded."""
        return [file for file in self.files if file.fetched]

    @property
    def text(self) -> str:
        """The result in a sentence."""
        if not self.files and not self.failures:
            text = "no supporting files are known; an entry of a registry file can name some"
            return f"{self.collection}: {text}"
        size = format_size(sum(file.size for file in self.files))
        unchecked = sum(file.check == "unchecked" for file in self.files)
        without_check = f", {unchecked} with no recorded size or hash" if unchecked else ""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        files = f"{count(len(self.files), 'supporting file')} ({size}{without_check})"
        return f"{self.collection}: {files}, {len(self.fetched)} downloaded{failed}"


@dataclass(frozen=True, slots=True)
class SeriesResult:
    """How one requested series ended."""

    series: str
    """SeriesInstanceUID."""
    state: str
    """A value of `State`."""
    path: str | None = None
    """The folder of its images, if it is complete; begins with the output folder as given."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON documents show it."""
        return {SERIES_NAMES["uid"]: self.series or None, "state": self.state, "path": self.path}


@dataclass(slots=True, repr=False)
class Summary:
    """What a download did."""

    targets: list[str]
    output: str
    exit_code: int = 0
    seconds: float = 0.0
    selected: int = 0
    """Requested series, including those that no archive lists."""
    complete: int = 0
    """Complete series, including those of earlier runs."""
    already_complete: int = 0
    failed: int = 0
    remaining: int = 0
    images_expected: int = 0
    images_stored: int = 0
    bytes_stored: int = 0
    """Bytes on disk of every selected series that is complete."""
    bytes_received: int = 0
    """Bytes received over the network in this run."""
    checked_md5: int = 0
    checked_size: int = 0
    sources: dict[str, int] = field(default_factory=dict)
    """Complete series by the archives that their images came from."""
    fetched_from: dict[str, int] = field(default_factory=dict)
    """The same for the series that this run completed."""
    partial_series: int = 0
    """Incomplete series, some of whose images are kept for the next run."""
    partial_bytes: int = 0
    received_images: bool = False
    """Whether this run received images that are kept, of complete series or for the next run."""
    supporting: list[SupportingFiles] = field(default_factory=list)
    """By collection, if they were requested."""
    results: list[SeriesResult] = field(default_factory=list)
    """Each requested series."""
    failures: list[Failure] = field(default_factory=list)
    catalog_differences: list[Comparison] = field(default_factory=list)
    """NBIA's lists that differ from the catalog, before filters."""
    notices: list[str] = field(default_factory=list)
    """Messages to the user that are not failures."""
    resolved: list[ResolvedTarget] = field(default_factory=list)
    """What each target was resolved to."""
    outdated_reports: list[str] = field(default_factory=list)
    """Report files that do not cover all complete series, relative to the output folder."""
    error: TciaCovidError | None = None
    """What ended the run early."""

    def __repr__(self) -> str:
        return f"<Summary: {self._in_words()}>"

    def _repr_html_(self) -> str:
        """The same in a notebook, with what failed."""
        failures = ((each.series, each.reason.value, each.detail) for each in self.failures)
        return html_table(self._in_words(), ("series", "failed", "why"), failures)

    def _in_words(self) -> str:
        failed = f", {self.failed:,} failed" if self.failed else ""
        remaining = f", {self.remaining:,} remaining" if self.remaining else ""
        return (
            f"{self.complete:,} of {count(self.selected, 'series')} complete in {self.output}, "
            f"{format_size(self.bytes_stored)}{failed}{remaining}; exit code {self.exit_code}"
        )


class SummaryBuilder:
    """Builds the summary during a download; receipts are counted, not kept."""

    def __init__(self, targets: Iterable[str], output: str) -> None:
        self.summary = Summary(targets=list(targets), output=output)
        self._sources: Counter[str] = Counter()
        self._fetched: Counter[str] = Counter()
        self._results: dict[str, SeriesResult | None] = {}
        """By UID of the series; None while it remains."""

    def selected(self, series: Iterable[Series]) -> None:
        """Count the requested series."""
        for requested in series:
            self.summary.selected += 1
            self.summary.images_expected += requested.image_count or 0
            self._results[requested.uid] = None

    def outcome(self, outcome: Outcome, folder: Path) -> None:
        """Count the outcome of one series; `folder` is that of its collection."""
        summary, uid = self.summary, outcome.series.uid
        path = outcome.receipt.path(folder) if outcome.receipt is not None else None
        self._results[uid] = SeriesResult(uid, outcome.state.value, path)
        if outcome.receipt is not None:
            already = outcome.state is State.ALREADY
            summary.already_complete += already
            summary.complete += 1
            summary.images_stored += len(outcome.receipt.images)
            summary.bytes_stored += outcome.receipt.size
            if outcome.receipt.check is Check.SIZE:
                summary.checked_size += 1
            else:
                summary.checked_md5 += 1
            sources = {image.source for image in outcome.receipt.images}
            # The archives of adopted images are not known.
            sources = sources - {ADOPTED} or sources
            for source in sources:  # `Counter.update` takes longer
                self._sources[source] += 1
                if not already:
                    self._fetched[source] += 1
        elif outcome.failure is not None:
            summary.failed += 1
            summary.failures.append(outcome.failure)

    def reset_complete(self) -> None:
        """Set the numbers of complete series back to zero, for a new count."""
        summary = self.summary
        summary.complete = summary.already_complete = 0
        summary.images_stored = summary.bytes_stored = 0
        summary.checked_md5 = summary.checked_size = 0
        self._sources.clear()
        self._fetched.clear()

    def finish(
        self, failures: Iterable[Failure], notices: Iterable[str], ended: TciaCovidError | None
    ) -> Summary:
        """Complete the summary with its exit code.

        `failures` are those of listings, and of requested series that no archive lists; `ended` is
        what ended the run early.
        """
        summary = self.summary
        listings = list(failures)
        unlisted = sum(bool(failure.series) for failure in listings)
        summary.selected += unlisted
        summary.failed += unlisted
        summary.failures = listings + summary.failures
        unlisted_results = [
            SeriesResult(failure.series, State.FAILED.value)
            for failure in listings
            if failure.series
        ]
        results = [
            result or SeriesResult(uid, State.REMAINING.value)
            for uid, result in self._results.items()
        ]
        summary.results = [*results, *unlisted_results]
        summary.notices = [*notices, *summary.notices]
        summary.sources = {"nbia": 0, "idc": 0} | dict(sorted(self._sources.items()))
        summary.fetched_from = dict(sorted(self._fetched.items()))
        summary.remaining = summary.selected - summary.complete - summary.failed
        summary.received_images |= summary.complete > summary.already_complete
        summary.error = ended
        summary.exit_code = exit_code_of(summary)
        return summary


def exit_code_of(summary: Summary) -> int:
    """The exit code of a run: never that of an archive's failure where it received images."""
    if summary.error is not None:
        is_partial = isinstance(summary.error, ArchiveError) and summary.received_images
        return EXIT_PARTIAL if is_partial else summary.error.exit_code
    reasons = {failure.reason for failure in summary.failures}
    if not reasons and not summary.remaining:
        return EXIT_OK
    if reasons == {FailureReason.LOCKED}:
        return EXIT_DESTINATION
    has_images = summary.complete or summary.received_images
    if has_images or any(group.files for group in summary.supporting):
        return EXIT_PARTIAL
    return EXIT_ARCHIVE if reasons == {FailureReason.ARCHIVE_ERROR} else EXIT_PARTIAL


def html_table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table, all of whose text is escaped; of many rows only the first ones."""
    every = list(rows)
    shown = [_html_row("td", row) for row in every[:_MAX_ROWS]]
    if len(every) > _MAX_ROWS:
        more = f"and {len(every) - _MAX_ROWS:,} more"
        shown.append(f'<tr><td colspan="{len(heads)}">{more}</td></tr>')
    head = _html_row("th", heads) if every else ""
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead>{head}</thead><tbody>{''.join(shown)}</tbody></table>"
    )


def _html_row(tag: str, cells: Iterable[object]) -> str:
    known = ("" if cell is None else cell for cell in cells)
    texts = (f"{cell:,}" if type(cell) is int else str(cell) for cell in known)
    return f"<tr>{''.join(f'<{tag}>{escape(text)}</{tag}>' for text in texts)}</tr>"
