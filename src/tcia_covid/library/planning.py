"""What `tcia_covid.plan` is."""

from __future__ import annotations

from pathlib import Path

from tcia_covid.defaults import DEFAULT_OUTPUT
from tcia_covid.events import Emit, discard
from tcia_covid.library.asking import request_of
from tcia_covid.library.choices import Choices, Unpack
from tcia_covid.library.interrupting import interruptible
from tcia_covid.library.plain import Paths
from tcia_covid.plan import Plan
from tcia_covid.plan import plan as make_plan
from tcia_covid.stop import Stop


def plan(
    targets: Paths,
    output: str | Path = DEFAULT_OUTPUT,
    *,
    emit: Emit = discard,
    stop: Stop | None = None,
    **choices: Unpack[Choices],
) -> Plan:
    """Say what `download` would do, without doing anything.

    Needs no network for what the shipped catalogue holds.

    Raises:
        RequestError: it cannot be carried out as asked.
        ArchiveError: a list was needed and could not be had.
    """
    stop = stop or Stop()
    with interruptible(stop):
        return make_plan(request_of(targets, output, **choices), emit=emit, stop=stop)
