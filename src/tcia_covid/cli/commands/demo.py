"""`demo`: the main job against an archive of the program's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tcia_covid.cli.click_commands import as_command
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import EVERYWHERE, PORT, SERVE
from tcia_covid.cli.param_types import FOLDER
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.cli.subscribers import progress_display
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_OK, InterruptedRunError, UsageError


@as_command(
    click.Argument(["directory"], required=False, metavar="[DIR]", type=FOLDER),
    SERVE,
    PORT,
    *EVERYWHERE,
)
def demo(console: Console, directory: str | None, *, serve: bool, port: int, **_: Any) -> int:
    """Show the main job in seconds, without a network.

    Starts a small archive on loopback, downloads from it into DIR (by default a new temporary
    folder), is interrupted, goes on, finds a damaged file, mends it, and proves the whole.
    """
    return (
        serve_until_interrupted(console, port)
        if serve
        else show_walkthrough(console, Path(directory) if directory else None)
    )


def show_walkthrough(console: Console, directory: Path | None) -> int:
    """Tell the story; give the exit code."""
    from tcia_covid.demo import walkthrough  # noqa: PLC0415 - brings ssl and http.server

    told: list[str] = []

    def say(text: str) -> None:
        told.append(text)
        console.result(text)

    muted = Console(quiet=not console.verbose, verbose=console.verbose, no_progress=True)
    muted.recorders = console.recorders
    with progress_display(muted) as emit:
        code = run_cancellable(
            lambda stop: walkthrough.run_walkthrough(directory, say=say, emit=emit, stop=stop)
        )
    console.document({"command": "demo", "exit_code": code, "lines": told})
    return code


def serve_until_interrupted(console: Console, port: int) -> int:
    """Serve the archive until a signal; the first line on standard output is its base URL."""
    from tcia_covid.demo import walkthrough  # noqa: PLC0415 - brings ssl and http.server

    def say(url: str) -> None:
        console.document({"command": "demo", "exit_code": EXIT_OK, "nbia_url": url})
        console.result(url)
        console.say(f"try: tcia-covid download DEMO-CT --source nbia --nbia-url {url}")
        console.say("Ctrl-C ends it")

    def serve(stop: CancelToken) -> None:
        try:
            walkthrough.serve(port, say, stop)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"port {port} cannot be used: {reason}", hint="--port 0") from error

    try:
        run_cancellable(serve)
    except InterruptedRunError as ended:
        console.say("the archive has ended")
        return ended.exit_code
    return EXIT_OK


command = demo
