"""The story of one series, told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tcia_covid.archives.base import Archive
from tcia_covid.errors import ArchiveError, SeriesError, TakenOverError, TciaCovidError
from tcia_covid.events import BytesStored, Emit, Notice, SeriesStarted
from tcia_covid.http import HttpSettings
from tcia_covid.model import Outcome, Receipt, Series, State
from tcia_covid.stop import Stop
from tcia_covid.store import Staging, Tree
from tcia_covid.transfer.delivery import Delivery


@dataclass(frozen=True, slots=True)
class Context:
    """What every part of a run shares."""

    stop: Stop
    settings: HttpSettings
    emit: Emit


def fetch_series(
    series: Series,
    archives: Sequence[Archive],
    tree: Tree,
    context: Context,
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
            return Outcome(series, State.ALREADY, staging)
        context.emit(SeriesStarted(series, len(staging.images), staging.size))
        _complete(series, archives, staging, tree, context)
        return Outcome(series, State.COMPLETE, tree.commit(staging))


def _complete(
    series: Series,
    archives: Sequence[Archive],
    staging: Staging,
    tree: Tree,
    context: Context,
) -> None:
    """Complete and prove `staging` from the first archive that can; each goes on where one left."""
    errors: list[TciaCovidError] = []
    for archive in archives:
        try:
            Delivery(series, archive, staging, tree.quarantine / series.uid, context).run()
            return
        except TakenOverError:
            raise
        except (ArchiveError, SeriesError) as error:
            context.stop.check()
            errors.append(error)
            if archive is not archives[-1]:
                context.emit(Notice(f"{archive.name}: {error.message}; trying the other archive"))
    raise _most_telling(errors)


def _most_telling(errors: list[TciaCovidError]) -> TciaCovidError:
    """The error that says most about the series: what lacks rather than what was unreachable."""
    about_series = [error for error in errors if isinstance(error, SeriesError)]
    return (about_series or errors)[0]
