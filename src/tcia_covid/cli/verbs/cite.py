"""`cite`: what to cite."""

from __future__ import annotations

from typing import Any

from tcia_covid.cli.arguments import targets
from tcia_covid.cli.command import verb
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import EVERYWHERE, STYLE


@verb(targets(), STYLE, *EVERYWHERE)
def cite(console: Console, targets: tuple[str, ...], *, style: str, **choices: Any) -> int:
    """Give what users of TARGET are asked to cite.

    The data, the publications on them, and The Cancer Imaging Archive itself.
    """
    from tcia_covid.cli.citing import show_citations  # noqa: PLC0415 - --help does without
    from tcia_covid.library.asking import request_of  # noqa: PLC0415

    return show_citations(console, request_of(targets, **choices), style)


command = cite
