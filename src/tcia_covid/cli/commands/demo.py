"""`demo`: a download from an archive of this program's own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tcia_covid.cli.console import Console
from tcia_covid.cli.progress import run_displayed
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.core.errors import EXIT_OK, InterruptedRunError
from tcia_covid.output.json_documents import demo_document, served_demo_document


def command(console: Console, *, directory: str | None, serve: bool, port: int, **_: Any) -> int:
    """Try a download in seconds, without a network."""
    from tcia_covid.demo import walkthrough  # noqa: PLC0415 - pydicom is slow to import, for help

    lines: list[str] = []

    def show(text: str) -> None:
        lines.append(text)
        console.result(text)

    def show_address(url: str) -> None:
        console.document(served_demo_document(url))
        console.result(url)
        console.message(f"try: tcia-covid download DEMO-CT --source nbia --nbia-url {url}")
        console.message("press Ctrl-C to stop")

    if serve:
        try:
            run_cancellable(lambda stop: walkthrough.serve(port, show_address, stop))
        except InterruptedRunError as interruption:
            console.message("the archive has stopped")
            return interruption.exit_code
        return EXIT_OK
    muted = Console(quiet=not console.verbose, verbose=console.verbose, no_progress=True)
    muted.logs = console.logs
    folder = Path(directory) if directory else None
    code = run_displayed(muted, partial(walkthrough.run_walkthrough, folder, show=show))
    console.document(demo_document(lines, code))
    return code
