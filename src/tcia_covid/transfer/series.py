"""The story of one series, told once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tcia_covid.archives.base import Archive
from tcia_covid.core.errors import (
    ArchiveError,
    NotAvailableError,
    SeriesChangedError,
    SeriesError,
    TakenOverError,
    TciaCovidError,
    UnreachableError,
)
from tcia_covid.core.events import BytesStored, Notice, SeriesRetried, SeriesStarted
from tcia_covid.core.models import Outcome, Receipt, Series, State
from tcia_covid.core.units import count
from tcia_covid.http.retry import RetryPolicy
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.availability import UNREACHABLE
from tcia_covid.transfer.fetcher import SeriesFetcher, TransferContext

_RETRIES_BEFORE_ANOTHER = 2


def fetch_series(
    series: Series,
    archives: Sequence[Archive],
    tree: Tree,
    context: TransferContext,
    *,
    update: bool = False,
) -> Outcome:
    """Bring one series into the tree, whole and checked, or raise and keep what is right.

    Args:
        series: as listed.
        archives: where it can be had, the first choice first.
        tree: the collection's folder.
        context: the run's shared parts.
        update: whether to fetch it although an older version stands.

    Raises:
        SeriesError: the series cannot be completed.
        ArchiveError: no archive gave usable answers.
        HeldError: another run works on it.
        DestinationError: the disk.
    """

    def on_bytes(count: int) -> None:
        context.emit(BytesStored(series.uid, count))

    with tree.stage(series, on_bytes, update=update) as staging:
        if isinstance(staging, Receipt):
            if staging.differs_from(series):
                raise changed(staging, series)
            return Outcome(series, State.ALREADY, staging)
        context.emit(SeriesStarted(series, len(staging.images), staging.size))
        if staging.set_aside_files:
            files = count(staging.set_aside_files, "damaged file")
            context.emit(Notice(f"{files} of series {series.uid} moved to {tree.quarantine}"))
        _complete(series, archives, staging, tree, context)
        return Outcome(series, State.COMPLETE, tree.commit(staging))


def changed(receipt: Receipt, series: Series) -> SeriesChangedError:
    """Give the error for a series that stands in an older version than the archive lists."""
    here, listed = (len(receipt.images), receipt.size), (series.image_count, series.size)
    what = (
        f"{here[0]} images of {here[1]} bytes are here, {listed[0]} of {listed[1]} bytes are listed"
    )
    if all(new in (None, old) for old, new in zip(here, listed, strict=True)):
        then = receipt.series.submitted
        what = f"images submitted until {then} are here, {series.submitted} are listed"
    if not receipt.differs_from(series):
        what = "it has another hash of its images"
    return SeriesChangedError(
        f"series {series.uid} changed in the archive: {what}",
        hint="--update fetches the new version; the old one stays until that is proved",
    )


def _complete(
    series: Series,
    archives: Sequence[Archive],
    staging: Staging,
    tree: Tree,
    context: TransferContext,
) -> None:
    """Complete and prove `staging` from the first archive that can; each goes on where one left.

    As long as a round brings images there is another: what one lacks another may have.
    """
    holders = [archive for archive in archives if archive.holds(series)] or list(archives)
    errors: dict[str, TciaCovidError] = {}
    while True:
        before = len(staging.images)
        for archive in context.health.order(holders):
            try:
                _fetcher(series, archive, holders, staging, tree, context).run()
                context.health.worked(archive)
                return
            except TakenOverError:
                raise
            except (ArchiveError, SeriesError) as error:
                context.stop.check()
                errors[archive.name] = error
                _note_failure(series, archive, error, context)
        if len(holders) == 1 or len(staging.images) <= before:
            raise _most_telling(series, errors)


def _fetcher(
    series: Series,
    archive: Archive,
    holders: Sequence[Archive],
    staging: Staging,
    tree: Tree,
    context: TransferContext,
) -> SeriesFetcher:
    """One archive's turn: patient where no other that works could take over."""
    working = [one for one in holders if not context.health.is_down(one)]
    patient = archive is (working or holders)[-1]
    retries = context.settings.retries if patient else _RETRIES_BEFORE_ANOTHER
    settings = replace(context.settings, retries=min(retries, context.settings.retries))
    return SeriesFetcher(
        series,
        archive,
        staging,
        tree.quarantine / series.uid,
        hash_archives=[one for one in context.hash_archives if one.name != archive.name],
        patience=RetryPolicy(settings, context.stop, _on_retry(series, context)),
        elsewhere=not patient,
        context=context,
    )


def _note_failure(
    series: Series, archive: Archive, error: ArchiveError | SeriesError, context: TransferContext
) -> None:
    context.emit(SeriesRetried(series.uid, f"{archive.name}: {error.message}", 0))
    if isinstance(error, SeriesError | NotAvailableError):
        context.health.worked(archive)


def _on_retry(series: Series, context: TransferContext) -> Callable[[str, float], None]:
    return lambda reason, wait: context.emit(SeriesRetried(series.uid, reason, wait))


def _most_telling(series: Series, errors: dict[str, TciaCovidError]) -> TciaCovidError:
    """What lacks of the series says more than what was unreachable; else all that was tried."""
    about_series = [error for error in errors.values() if isinstance(error, SeriesError)]
    if about_series:
        return max(about_series, key=lambda error: len(error.missing))
    if len(errors) == 1:
        return next(iter(errors.values()))
    tried = "; ".join(f"{name}: {error.message}" for name, error in sorted(errors.items()))
    if all(isinstance(error, NotAvailableError) for error in errors.values()):
        return NotAvailableError(f"no archive gives series {series.uid} ({tried})")
    kind = (
        UnreachableError
        if all(isinstance(e, UNREACHABLE) for e in errors.values())
        else ArchiveError
    )
    return kind(
        f"no archive could be used ({tried})",
        hint="check the network and the proxy settings, or try again later",
        retryable=True,
    )
