"""`demo`: a download from an archive of this program's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tcia_covid.cli.console import Console
from tcia_covid.cli.progress import progress_display
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_OK, InterruptedRunError, UsageError
from tcia_covid.demo import walkthrough


def run(console: Console, *, directory: str | None, serve: bool, port: int, **_: Any) -> int:
    """Show the walkthrough, or only serve."""
    if serve:
        return serve_until_interrupted(console, port)
    return show_walkthrough(console, Path(directory) if directory else None)


def show_walkthrough(console: Console, directory: Path | None) -> int:
    """Show each step; give the exit code."""
    lines: list[str] = []

    def show(text: str) -> None:
        lines.append(text)
        console.result(text)

    muted = Console(quiet=not console.verbose, verbose=console.verbose, no_progress=True)
    muted.recorders = console.recorders
    with progress_display(muted) as emit:
        code = run_cancellable(
            lambda stop: walkthrough.run_walkthrough(directory, show=show, emit=emit, stop=stop)
        )
    console.document({"command": "demo", "exit_code": code, "lines": lines})
    return code


def serve_until_interrupted(console: Console, port: int) -> int:
    """Serve the archive until a signal; the first line on standard output is its base URL."""

    def show(url: str) -> None:
        console.document({"command": "demo", "exit_code": EXIT_OK, "nbia_url": url})
        console.result(url)
        console.message(f"try: tcia-covid download DEMO-CT --source nbia --nbia-url {url}")
        console.message("press Ctrl-C to stop")

    def serve(stop: CancelToken) -> None:
        try:
            walkthrough.serve(port, show, stop)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"cannot use port {port}: {reason}", hint="use --port 0") from error

    try:
        run_cancellable(serve)
    except InterruptedRunError as interruption:
        console.message("the archive has stopped")
        return interruption.exit_code
    return EXIT_OK
