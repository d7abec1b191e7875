"""The demonstration on the console."""

from __future__ import annotations

from pathlib import Path

from tcia_covid.cli.console import Console
from tcia_covid.cli.listening import listening
from tcia_covid.cli.supervise import supervised
from tcia_covid.demo import story
from tcia_covid.errors import EXIT_OK, InterruptedRunError, UsageError
from tcia_covid.stop import Stop


def perform(console: Console, directory: Path | None) -> int:
    """Tell the story; give the exit code."""
    told: list[str] = []

    def say(text: str) -> None:
        told.append(text)
        console.result(text)

    muted = Console(quiet=not console.verbose, verbose=console.verbose, no_progress=True)
    muted.recorders = console.recorders
    with listening(muted) as emit:
        code = supervised(lambda stop: story.run(directory, say=say, emit=emit, stop=stop))
    console.document({"command": "demo", "exit_code": code, "told": told})
    return code


def stay(console: Console, port: int) -> int:
    """Serve the archive until a signal; the first line on standard output is its base URL."""

    def say(url: str) -> None:
        console.document({"command": "demo", "exit_code": EXIT_OK, "nbia_url": url})
        console.result(url)
        console.say(f"try: tcia-covid download DEMO-CT --source nbia --nbia-url {url}")
        console.say("Ctrl-C ends it")

    def serve(stop: Stop) -> None:
        try:
            story.serve(port, say, stop)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"port {port} cannot be used: {reason}", hint="--port 0") from error

    try:
        supervised(serve)
    except InterruptedRunError as ended:
        console.say("the archive has ended")
        return ended.exit_code
    return EXIT_OK
