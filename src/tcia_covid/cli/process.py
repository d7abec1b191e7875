"""The process around the command line: signals before and after the work, and the exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

from tcia_covid.errors import EXIT_SIGHUP, EXIT_SIGINT, EXIT_SIGTERM

EXIT_CODES = {signal.SIGINT: EXIT_SIGINT, signal.SIGTERM: EXIT_SIGTERM}
"""The signals that end a run in good order."""
if sys.platform == "win32":
    EXIT_CODES[signal.SIGBREAK] = EXIT_SIGTERM
else:
    EXIT_CODES[signal.SIGHUP] = EXIT_SIGHUP


class SignalledError(KeyboardInterrupt):
    """A signal while no job is under way: there is nothing to keep."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


def main() -> NoReturn:
    """Run the command line of this process, and end the process."""
    _on(heard_signals(), _interrupt)
    code = _run(sys.argv[1:])
    _on(heard_signals(), lambda *_: os._exit(code))  # all is said
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)
    # Taking apart all that was made takes a while, and a thread that hangs in the network for ever.
    os._exit(code)


def heard_signals() -> list[signal.Signals]:
    """The signals that end a run; not those that are ignored, as SIGHUP is under `nohup`."""
    return [one for one in EXIT_CODES if signal.getsignal(one) is not signal.SIG_IGN]


def end_at_once(number: int) -> None:
    """End the process at a second signal, but for SIGHUP: a closed terminal sends several."""
    code = EXIT_CODES[signal.Signals(number)]
    if code != EXIT_SIGHUP:
        os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    try:
        from tcia_covid.cli.entry import run  # noqa: PLC0415 - takes a while: signals come first

        return run(arguments)
    except KeyboardInterrupt as error:
        from tcia_covid.cli.entry import interrupted  # noqa: PLC0415

        return interrupted(arguments, error)


def _on(signals: Sequence[signal.Signals], act: Callable[[int, FrameType | None], Any]) -> None:
    for one in signals:
        signal.signal(one, act)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """End what is under way with an exception; the next signal ends the process."""
    del frame
    _on(heard_signals(), lambda number, _: end_at_once(number))
    raise SignalledError(EXIT_CODES[signal.Signals(number)])


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except (OSError, ValueError, AttributeError):
        return
