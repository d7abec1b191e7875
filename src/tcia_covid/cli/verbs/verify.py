"""`verify`: every file once more."""

from __future__ import annotations

from typing import Any

from tcia_covid.cli.arguments import directory
from tcia_covid.cli.command import verb
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import DEEP, EVERYWHERE, ONLINE, PATIENCE, READERS, STRICT


@verb(directory(), DEEP, ONLINE, STRICT, READERS, *PATIENCE, *EVERYWHERE)
def verify(console: Console, directory: str, **choices: Any) -> int:
    """Re-check every file in DIR against its recorded MD5.

    Missing, changed and unreadable files are listed (exit code 1); the next 'download' repairs
    just those. Files that this program did not write are listed as unexpected.
    """
    from tcia_covid.cli.checking import show_check  # noqa: PLC0415 - --help does without

    return show_check(console, directory, **choices)


command = verify
