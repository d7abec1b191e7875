"""Counting how series end, into the summary of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tcia_covid.errors import (
    EXIT_ARCHIVE,
    EXIT_DESTINATION,
    EXIT_OK,
    EXIT_PARTIAL,
    TciaCovidError,
)
from tcia_covid.model import ADOPTED, Check, Failure, Outcome, Receipt, Series, State
from tcia_covid.summary import Summary


class Tally:
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
        if summary.failures and all(one.reason == "held" for one in summary.failures):
            return EXIT_DESTINATION
        if not summary.complete and 0 < self._archive_failures == len(summary.failures):
            return EXIT_ARCHIVE
        return EXIT_PARTIAL


def _sources(receipt: Receipt) -> set[str]:
    """The archives that images of a series came from; images of earlier runs do not know theirs."""
    sources = {image.source for image in receipt.images}
    return sources - {ADOPTED} or sources
