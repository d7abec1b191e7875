"""The two output streams: results on one, everything that is said meanwhile on the other."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from tcia_covid.core.errors import DestinationError, TciaCovidError
from tcia_covid.core.redaction import scrub

if TYPE_CHECKING:
    from tcia_covid.core.events import Emit

_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""The control characters but for those that lay out a text; all others take 4 ms to compile."""


@dataclass(slots=True)
class Console:
    """How a command speaks to its user."""

    verb: str = ""
    targets: tuple[str, ...] = ()
    folder: str = ""
    """The output folder, or the one to look at; empty until the command line was read."""
    json: bool = False
    """One JSON document is the result."""
    quiet: bool = False
    verbose: bool = False
    no_progress: bool = False
    log_file: str | None = None
    events: str | None = None
    recorders: list[Emit] = field(default_factory=list)
    """Hear of everything that happens: the log file and the event log."""
    answered: bool = False
    """Whether the JSON document was written."""

    def configure(self, verb: str, given: dict[str, Any]) -> None:
        """Take what concerns the console out of the values given."""
        self.verb = verb
        self.targets = given.get("targets", ())
        self.folder = given.get("output") or given.get("directory") or ""
        self.json = given.pop("json")
        self.verbose = given.pop("verbose")
        self.quiet = given.pop("quiet") and not self.verbose
        self.no_progress = given.pop("no_progress")
        self.log_file = given.pop("log_file")
        self.events = given.pop("events")

    def result(self, text: str) -> None:
        """Write a result for people or other programs; nothing where JSON is wanted."""
        if not self.json:
            write(sys.stdout, text)

    def document(self, content: Mapping[str, Any]) -> None:
        """Write the result as the JSON document, where that is wanted."""
        if self.json and not self.answered:
            self.answered = True
            plain = not is_unicode(sys.stdout)
            text = json.dumps({**content}, indent=2, ensure_ascii=plain)
            # What steers a terminal or is no text, as some file names, is escaped as JSON does it.
            text = _STEERING.sub(lambda one: f"\\u{ord(one[0]):04x}", text)
            write(sys.stdout, text.encode("utf-8", "backslashreplace").decode("utf-8"))

    def say(self, text: str) -> None:
        """Write something beside the result."""
        if not self.quiet:
            write(sys.stderr, text)

    def report(self, text: str) -> None:
        """Write what no option silences."""
        write(sys.stderr, text)

    def complain(self, message: str, hint: str = "") -> None:
        """Write an error: what happened, and what to do next."""
        write(sys.stderr, "\n".join(filter(None, (f"error: {message}", hint))))

    def trace(self, error: BaseException) -> None:
        """Write where an error came from, for those who asked for it."""
        if self.verbose:
            write(sys.stderr, scrub("".join(traceback.format_exception(error))).rstrip())


def write(stream: TextIO | None, text: str) -> None:
    """Write a line; a reader who has gone away is no reason to stop a download.

    Raises:
        DestinationError: a full disk behind a redirection, for instance.
    """
    if stream is None or not text:
        return
    try:
        stream.write(f"{printable(stream, text)}\n")
        stream.flush()
    except BrokenPipeError:
        _silence(stream)
    except ValueError:
        return  # the stream is closed
    except OSError as error:
        if stream is sys.stdout:
            gone = _was_terminal(stream, error)
            _silence(stream)
            if not gone:
                raise _unwritable(error) from error


def printable(stream: TextIO, text: str) -> str:
    """The text without what would steer a terminal, and what the stream cannot carry."""
    text = _STEERING.sub(" ", text)
    if is_unicode(stream):
        return text.encode("utf-8", "replace").decode("utf-8")
    encoding = stream.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding)


def is_unicode(stream: TextIO) -> bool:
    """Whether the stream carries every character."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"


def _was_terminal(stream: TextIO, error: OSError) -> bool:
    """Whether the stream is a terminal that went away."""
    return error.errno == errno.EIO and stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)


def _silence(stream: TextIO) -> None:
    """Send what is still buffered nowhere, so that no later flush fails again."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return


def _unwritable(error: OSError) -> TciaCovidError:
    return DestinationError(f"standard output cannot be written: {error.strerror or error}")
