"""`verify`: every file once more."""

from __future__ import annotations

from typing import Any

from tcia_covid.cli.arguments import directory
from tcia_covid.cli.command import verb
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import DEEP, EVERYWHERE, ONLINE, PATIENCE, READERS


@verb(directory(), DEEP, ONLINE, READERS, *PATIENCE, *EVERYWHERE)
def verify(
    console: Console, directory: str, *, deep: bool, online: bool, jobs: int | None, **choices: Any
) -> int:
    """Hash every file in DIR again, compare it with its receipt.

    Missing, changed, unreadable, foreign and unexpected files are named (exit code 1). What is
    damaged is noted: the next 'download' mends just that.
    """
    from tcia_covid.cli.checking import show_check  # noqa: PLC0415 - --help does without

    return show_check(console, directory, deep=deep, online=online, jobs=jobs, **choices)


command = verify
