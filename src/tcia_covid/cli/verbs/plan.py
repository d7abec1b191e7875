"""`plan`: what `download` would do."""

from __future__ import annotations

from typing import Any

from tcia_covid.cli.arguments import targets
from tcia_covid.cli.command import verb
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import COMPARE, DOWNLOADING, EVERYWHERE, FILTERS


@verb(targets(required=False), *FILTERS, *DOWNLOADING, COMPARE, *EVERYWHERE)
def plan(
    console: Console, targets: tuple[str, ...], output: str, *, compare: bool, **choices: Any
) -> int:
    """Say what 'download' would do, without doing anything.

    Shows patients, series, images and bytes, what is there already, whether the rest fits on the
    disk, and about how long it takes. Needs no network for the collections of the shipped
    catalogue. It takes the options of 'download'.
    """
    from tcia_covid.cli.planning import show_comparison, show_plan  # noqa: PLC0415
    from tcia_covid.library.asking import request_of  # noqa: PLC0415

    request = request_of(targets, output, **choices)
    return (show_comparison if compare else show_plan)(console, request)


command = plan
