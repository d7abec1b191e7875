"""`demo`: a download from a small archive on this machine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tcia_covid.cli.console import Console
from tcia_covid.cli.options import PORT, refuse_unused
from tcia_covid.cli.progress import run_displayed
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.core.errors import EXIT_OK, InterruptedRunError, UsageError
from tcia_covid.demo import walkthrough

NEXT = ("list", "plan COVID-19-AR", "download COVID-19-AR --first-patients 1 -o data")
"""What to try after the demo."""


def command(console: Console, *, directory: str | None, serve: bool, port: int, **_: Any) -> int:
    """Try a download in seconds, without a network."""
    lines: list[str] = []

    def show(text: str) -> None:
        lines.extend(text.split("\n"))
        console.prose(text)

    def show_address(url: str) -> None:
        console.answer(nbia_url=url)
        console.result(url)
        console.message(f"try: {called_as()} download DEMO-CT --source nbia --nbia-url {url}")
        console.message("press Ctrl-C to stop")

    if serve:
        if directory:
            raise UsageError(
                "DIR has no effect with --serve", hint="leave it out: --serve writes no files"
            )
        try:
            run_cancellable(lambda stop: walkthrough.serve(port, show_address, stop))
        except InterruptedRunError as interruption:
            console.message("the archive has stopped")
            return interruption.exit_code
        return EXIT_OK
    refuse_unused((PORT,), "--serve", "only run the archive")
    muted = Console(quiet=not console.verbose, verbose=console.verbose, no_progress=True)
    muted.logs = console.logs
    folder = Path(directory) if directory else None
    code = run_displayed(muted, partial(walkthrough.run_walkthrough, folder, show=show))
    if code == EXIT_OK:
        show("\nnext:")
        commands = [f"  {called_as()} {words}" for words in NEXT]
        lines += commands
        console.result("\n".join(commands))  # whole lines, to be copied
    console.answer(code, lines=lines)
    return code


def called_as(
    argv: Sequence[str] = sys.argv,
    original: Sequence[str] = sys.orig_argv,
    *,
    windows: bool = sys.platform == "win32",
) -> str:
    """The command that started this program, as it was typed.

    Args:
        argv: the name of the program, as Python's own `sys.argv` has it.
        original: the command line with the interpreter, as `sys.orig_argv`.
        windows: whether to quote as its shells need it.
    """
    program = argv[0]
    if Path(program).name == "__main__.py":
        words = [original[0], "-m", "tcia_covid"]
    else:
        name = Path(program).stem if windows else Path(program).name
        path = shutil.which(name)
        is_on_path = path and os.path.realpath(path) == os.path.realpath(program)
        words = [name if is_on_path else program]
    return subprocess.list2cmdline(words) if windows else shlex.join(words)
