"""`series`: the series that a selection names; also how manifests are written."""

from __future__ import annotations

from typing import Any

from tcia_covid.cli.arguments import targets
from tcia_covid.cli.command import verb
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import EVERYWHERE, FILTERS, FORMAT, PATIENCE, SELECTING


@verb(targets(required=False), *FILTERS, FORMAT, *SELECTING, *PATIENCE, *EVERYWHERE)
def series(console: Console, targets: tuple[str, ...], *, format: str, **choices: Any) -> int:  # noqa: A002 - the option's name
    """List the series that TARGET and the filters name.

    'tcia-covid series COVID-19-AR --modality CT --format tcia > ct.tcia' writes a manifest that
    TCIA's own Data Retriever opens, and so does 'download'.
    """
    from tcia_covid.cli.selecting import show_series  # noqa: PLC0415 - --help does without
    from tcia_covid.library.asking import request_of  # noqa: PLC0415

    return show_series(console, request_of(targets, **choices), format)


command = series
