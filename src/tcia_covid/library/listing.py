"""What `tcia_covid.iter_series` is."""

from __future__ import annotations

from collections.abc import Iterator

from tcia_covid.defaults import DEFAULT_OUTPUT
from tcia_covid.errors import NotAvailableError
from tcia_covid.events import Emit, discard
from tcia_covid.library.asking import request_of
from tcia_covid.library.choices import Choices, Unpack
from tcia_covid.library.interrupting import interruptible
from tcia_covid.library.plain import Paths
from tcia_covid.listing import select_offline
from tcia_covid.model import Series
from tcia_covid.registry import load_registry
from tcia_covid.stop import Stop


def iter_series(
    targets: Paths,
    *,
    emit: Emit = discard,
    stop: Stop | None = None,
    **choices: Unpack[Choices],
) -> Iterator[Series]:
    """Give the series that a selection names, by collection, patient, study and number.

    Needs no network for what the shipped catalogue holds.

    Raises:
        RequestError: it cannot be carried out as asked.
        ArchiveError: a list was needed and could not be had.
        NotAvailableError: no archive lists some of the series that were asked for.
    """
    request = request_of(targets, DEFAULT_OUTPUT, **choices)
    stop = stop or Stop()
    with interruptible(stop):
        registry = load_registry(request.options.registry)
        selected = select_offline(request, registry, stop, emit)
    if selected.failures:
        first, others = selected.failures[0], len(selected.failures) - 1
        more = f" (and {others} more like it)" if others else ""
        raise NotAvailableError(first.detail + more, hint=first.hint)
    yield from selected.series
