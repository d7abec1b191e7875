"""The download of one series, from staging folder to commit, with failover between archives."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from tcia_covid.archives.base import Archive
from tcia_covid.core.errors import (
    ArchiveError,
    ConnectionLostError,
    NotAvailableError,
    ResponseTimeoutError,
    SeriesChangedError,
    SeriesError,
    TakenOverError,
    TciaCovidError,
    UnreachableError,
)
from tcia_covid.core.events import (
    BytesStored,
    Notice,
    Phase,
    PhaseChanged,
    SeriesRetried,
    SeriesStarted,
)
from tcia_covid.core.models import Outcome, Receipt, Series, State, archive_label, series_md5
from tcia_covid.core.safe_names import is_uid
from tcia_covid.core.units import count
from tcia_covid.http.retry import UNREACHABLE, RetryPolicy
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.fetcher import SeriesFetcher, TransferContext, incomplete_error
from tcia_covid.transfer.verification import counts_match


def fetch_series(
    series: Series,
    archives: Sequence[Archive],
    tree: Tree,
    context: TransferContext,
    *,
    update: bool = False,
) -> Outcome:
    """Download one series, check all of it and commit it to the tree.

    On failure the images that are right stay in staging for the next run.

    Args:
        series: as listed: what to expect.
        archives: in order of preference.
        tree: the folder of the collection.
        context: what the whole run shares.
        update: whether to download a series again that is complete in an older version.

    Raises:
        SeriesError: the series cannot be completed.
        ArchiveError: no archive gave a usable response.
        LockedError: another run works on the series.
        DestinationError: an I/O error in the tree.
    """

    def on_bytes(number: int) -> None:
        context.emit(BytesStored(series.uid, number))

    with tree.stage(series, on_bytes, update=update) as staging:
        if isinstance(staging, Receipt):
            return _already_complete(staging, series)
        _announce(staging, tree, context)
        failover = _Failover(archives, staging, tree.quarantine / series.uid, context)
        proved = False
        while not proved:
            fetcher = failover.fetcher
            images_before = set(staging.images)
            try:
                fetcher.discard_wrong_images()
                if not staging.images and fetcher.can_stream:
                    fetcher.stream()
                elif counts_match(staging):
                    context.emit(PhaseChanged(series.uid, Phase.CHECKING))
                    proved = fetcher.prove()
                elif missing := fetcher.missing_images():
                    fetcher.fill(missing)
                else:
                    proved = fetcher.explain_difference()
            except (ArchiveError, SeriesError) as error:
                progress = not staging.images.keys() <= images_before
                failover.retry_or_switch(error, progress=progress)
        _check_version(staging)
        context.availability.worked(fetcher.archive)
        context.emit(PhaseChanged(series.uid, Phase.COMMITTING))
        return Outcome(series, State.COMPLETE, tree.commit(staging))


def _already_complete(receipt: Receipt, series: Series) -> Outcome:
    if receipt.differs_from(series):
        raise changed_error(receipt, series)
    return Outcome(series, State.ALREADY, receipt)


def _check_version(staging: Staging) -> None:
    """Refuse images whose hash is not the one of the lock file; they stay in staging.

    Raises:
        SeriesChangedError: it is another one.
    """
    expected = staging.series.md5
    if expected is None:
        return
    actual = series_md5(image.md5 for image in staging.images.values())
    if actual != expected:
        raise SeriesChangedError(
            f"series {staging.series.uid} is not the version in the lock file: its series_hash is "
            f"{actual}, not {expected}",
            hint="without --frozen the version that the archive has is downloaded",
        )


def _announce(staging: Staging, tree: Tree, context: TransferContext) -> None:
    uid = staging.series.uid
    context.emit(SeriesStarted(staging.series, len(staging.images), staging.size))
    if staging.quarantined_files:
        files = count(staging.quarantined_files, "damaged file")
        context.emit(Notice(f"{files} of series {uid} moved to {tree.quarantine}"))


def changed_error(receipt: Receipt, series: Series) -> SeriesChangedError:
    """Return the error for a complete series that the archive lists in another version."""
    return SeriesChangedError(
        f"series {series.uid} changed in the archive: {version_difference(receipt, series)}",
        hint="--update downloads the new version; the old one stays until the new one is checked",
    )


def version_difference(receipt: Receipt, series: Series) -> str:
    """Describe how a complete series differs from the listed one."""
    before = receipt.series
    images, size = len(receipt.images), receipt.size
    if not receipt.differs_from(series):
        return "the MD5 over its images differs"
    if series.image_count not in (None, before.image_count, images) or series.size not in (
        None,
        before.size,
        size,
    ):
        return (
            f"{images} images of {size} bytes are on disk, "
            f"{series.image_count} of {series.size} bytes are listed"
        )
    if series.md5 not in (None, receipt.md5):
        return f"series_hash is {receipt.md5} on disk, {series.md5} in the lock file"
    if series.crdc_uuid and before.crdc_uuid not in (None, series.crdc_uuid):
        return f"crdc_series_uuid {before.crdc_uuid} is on disk, {series.crdc_uuid} is listed"
    return f"images submitted until {before.submitted} are on disk, {series.submitted} are listed"


class _Failover:
    """Switches from one archive of a series to the next; staging keeps what each has given.

    As long as a round over the archives brings images there is another round: one archive may
    have what another does not.
    """

    def __init__(
        self,
        archives: Sequence[Archive],
        staging: Staging,
        quarantine: Path,
        context: TransferContext,
    ) -> None:
        self._series = series = staging.series
        holding = [archive for archive in archives if archive.has(series)]
        self._archives = holding or list(archives)
        self._staging = staging
        self._quarantine = quarantine
        self._context = context
        self._errors: dict[str, TciaCovidError] = {}
        self._policies = {
            archive.name: RetryPolicy(
                context.settings,
                context.stop,
                lambda reason, wait: context.emit(SeriesRetried(series.uid, reason, wait)),
                reachability=context.reachability,
            )
            for archive in self._archives
        }
        """Each has one budget for all rounds."""
        self._fetchers: dict[str, SeriesFetcher] = {}
        self._start_round()

    def _start_round(self) -> None:
        self._images_before = len(self._staging.images)
        self._queue = deque(self._context.availability.order(self._archives))
        self.fetcher = self._fetcher(self._queue.popleft())

    def _fetcher(self, archive: Archive) -> SeriesFetcher:
        """Retry less often where another archive that works can take over."""
        context = self._context
        is_down = context.availability.is_down
        working = [archive for archive in self._archives if not is_down(archive)]
        is_last = archive is (working or self._archives)[-1]
        fetcher = SeriesFetcher(
            archive,
            self._staging,
            self._quarantine,
            hash_archives=[other for other in context.hash_archives if other.name != archive.name],
            retry=self._policies[archive.name],
            has_alternative=not is_last,
            context=context,
        )
        self._fetchers[archive.name] = fetcher
        return fetcher

    def retry_or_switch(self, error: ArchiveError | SeriesError, *, progress: bool) -> None:
        """Wait to retry with the same archive, or switch to the next one.

        Args:
            error: why the last step failed.
            progress: whether that step brought images nevertheless.

        Raises:
            TciaCovidError: no archive is left, or the run ends.
        """
        if isinstance(error, TakenOverError):
            raise error
        if self.fetcher.ignores(error):
            return
        try:
            self.fetcher.wait_to_retry(error, progress=progress)
        except (ArchiveError, SeriesError) as final:
            self._context.stop.check()
            self._note_failure(final)
        else:
            return
        if self._queue:
            self.fetcher = self._fetcher(self._queue.popleft())
        elif len(self._archives) > 1 and len(self._staging.images) > self._images_before:
            self._start_round()
        else:
            raise self._error()

    def _note_failure(self, error: ArchiveError | SeriesError) -> None:
        archive = self.fetcher.archive
        self._errors[archive.name] = error
        reason = f"{archive_label(archive.name)}: {error.message}"
        self._context.emit(SeriesRetried(self._series.uid, reason, 0))
        if isinstance(error, SeriesError | NotAvailableError):
            self._context.availability.worked(archive)

    def _error(self) -> TciaCovidError:
        """Return the error of the series; it names missing images if others were received."""
        error = self._common_error()
        if not self._staging.images or not isinstance(error, SeriesError | ArchiveError):
            return error
        missing = self._names_of_missing()
        if isinstance(error, ArchiveError) and not error.retryable:
            return incomplete_error(self._series, len(missing) or 1, error, missing)
        error.missing = error.missing or missing
        return error

    def _names_of_missing(self) -> tuple[str, ...]:
        """What the archive of record lists, else what the receipt or another archive has."""
        staging = self._staging
        by_archive = [
            fetcher.names_of_missing(may_request=self._may_list(fetcher.archive))
            for fetcher in sorted(
                self._fetchers.values(), key=lambda fetcher: not fetcher.archive.of_record
            )
        ]
        by_uid = [names for names in by_archive if all(map(is_uid, names))]
        in_receipt = tuple(sorted(staging.recorded.keys() - staging.images.keys()))
        return next(filter(None, [*by_uid, in_receipt, *by_archive]), ())

    def _may_list(self, archive: Archive) -> bool:
        """Whether the archive responds, so that a list costs no further retries."""
        error = self._errors.get(archive.name)
        if isinstance(error, ResponseTimeoutError) and archive.skips_known:
            return True  # one object is silent, and lists are not retried
        is_away = isinstance(error, (*UNREACHABLE, ConnectionLostError))
        return not is_away and not (isinstance(error, ArchiveError) and error.push_back)

    def _common_error(self) -> TciaCovidError:
        """Choose the error of a series, else report the response of each archive."""
        errors = self._errors.values()
        series_errors = [error for error in errors if isinstance(error, SeriesError)]
        if series_errors:
            return max(series_errors, key=lambda error: len(error.missing))
        if len(errors) == 1:
            return next(iter(errors))
        tried = "; ".join(
            f"{archive_label(name)}: {error.message}"
            for name, error in sorted(self._errors.items())
        )
        if all(isinstance(error, NotAvailableError) for error in errors):
            return NotAvailableError(f"series {self._series.uid} is in no archive ({tried})")
        unreachable = all(isinstance(error, UNREACHABLE) for error in errors)
        return (UnreachableError if unreachable else ArchiveError)(
            f"no archive gave a usable response ({tried})",
            hint="check the network and the proxy settings, or try again later",
            retryable=True,
        )
