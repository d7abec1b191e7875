"""The two output streams: results on standard output, everything else on standard error."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO

from tcia_covid.core.errors import EXIT_DESTINATION, EXIT_OK, DestinationError
from tcia_covid.core.redaction import scrub
from tcia_covid.core.units import terminal_width, wrap

if TYPE_CHECKING:
    from tcia_covid.output.logs import EventLog, LogFile

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters except tab and newline; a class of all unprintable ones compiles in 4 ms."""
_Encode = Callable[[Any], str]
_LINES = 100
"""Lines of JSON to write at once: some kilobytes."""


@dataclass(slots=True, eq=False)
class Console:
    """Writes the output of a command."""

    command: str = ""
    targets: tuple[str, ...] = ()
    folder: str = ""
    """The output folder, or the folder to read; empty until the command line is parsed."""
    json: bool = False
    """The result is one JSON document."""
    quiet: bool = False
    verbose: bool = False
    no_progress: bool = False
    log_file: str | None = None
    events: str | None = None
    logs: list[EventLog | LogFile] = field(default_factory=list)
    """The open logs, which get every event."""
    has_document: bool = False
    """Whether the JSON document is written."""

    def configure(self, command: str, values: dict[str, Any]) -> None:
        """Set the attributes from the values of options."""
        self.command = command
        self.targets = values.get("targets", ())
        self.folder = values.get("output") or values.get("directory") or ""
        self.json = values.pop("json")
        self.verbose = values.pop("verbose")
        self.quiet = values.pop("quiet") and not self.verbose
        self.no_progress = values.pop("no_progress")
        self.log_file = values.pop("log_file")
        self.events = values.pop("events")

    def result(self, text: str | Iterable[str]) -> None:
        """Write a result as it is, a text or lines; nothing with --json."""
        if not self.json:
            write(sys.stdout, text if isinstance(text, str) else _joined(text, "\n"))

    def prose(self, text: str) -> None:
        """Write sentences of a result, wrapped on a terminal; nothing with --json."""
        self.result(_fitted(sys.stdout, text))

    def document(self, content: Mapping[str, Any]) -> None:
        """Write the JSON document, with --json; only the first one is written."""
        if self.json and not self.has_document:
            self.has_document = True
            if "exit_code" in content:
                content = {**content, "exit_code": self.exit_code(content["exit_code"])}
            pieces = encoded(content, ensure_ascii=not is_unicode(sys.stdout))
            write(sys.stdout, map(_escaped, pieces))

    def answer(self, exit_code: int = EXIT_OK, /, **content: Any) -> None:
        """Write the JSON document of a command whose result is a few keys."""
        self.document({"command": self.command, "exit_code": exit_code, **content})

    @property
    def log_failure(self) -> str:
        """Which log is incomplete, and why; empty if none."""
        failures = ((log.path, log.failed) for log in self.logs if log.failed)
        return next((f"{path}: {error.strerror or error}" for path, error in failures), "")

    def exit_code(self, code: int) -> int:
        """The exit code of a command that ends with `code`: not 0 if a log is incomplete."""
        return EXIT_DESTINATION if code == EXIT_OK and self.log_failure else code

    def message(self, text: str) -> None:
        """Write a message; --quiet silences it."""
        if not self.quiet:
            self.warning(text)

    def warning(self, text: str) -> None:
        """Write a message that nothing silences."""
        write(sys.stderr, _fitted(sys.stderr, text))

    def error(self, message: str, hint: str = "") -> None:
        """Write an error: what happened, and what to do next."""
        self.warning("\n".join(filter(None, (f"error: {message}", hint))))

    def trace(self, error: BaseException) -> None:
        """Write the traceback of an error; needs --verbose."""
        if self.verbose:
            write(sys.stderr, scrub("".join(traceback.format_exception(error))).rstrip())


def _fitted(stream: TextIO | None, text: str) -> str:
    """Sentences, wrapped between words where the stream is a terminal."""
    columns = terminal_width(stream)
    return text if columns is None else wrap(text, columns)


def encoded(content: Mapping[str, Any], *, ensure_ascii: bool) -> Iterator[str]:
    """Encode a JSON document in pieces; objects with `to_dict` are converted one at a time.

    A million series as dictionaries, or as one text, would need too much memory. Each has one line:
    the standard library indents in Python, and encodes without an indent in C.
    """
    indented = json.JSONEncoder(indent=2, ensure_ascii=ensure_ascii, default=_to_dict)
    compact = json.JSONEncoder(ensure_ascii=ensure_ascii, default=_to_dict)
    yield from _encoded(content, "\n", indented.encode, compact.encode)


def _encoded(value: Any, newline: str, indented: _Encode, compact: _Encode) -> Iterator[str]:
    """Encode a value, whose lines begin with `newline`."""
    inner = f"{newline}  "
    if isinstance(value, Mapping) and value:
        comma = "{"
        for name, item in value.items():
            yield f"{comma}{inner}{compact(name)}: "
            yield from _encoded(item, inner, indented, compact)
            comma = ","
        yield f"{newline}}}"
    elif isinstance(value, Iterator) or (
        isinstance(value, list) and value and hasattr(value[0], "to_dict")
    ):
        pieces = _joined(map(compact, value), f",{inner}")
        first = next(pieces, None)
        if first is None:
            yield "[]"
            return
        yield f"[{inner}{first}"
        yield from pieces
        yield f"{newline}]"
    else:
        yield indented(value).replace("\n", newline)


def _joined(texts: Iterable[str], separator: str) -> Iterator[str]:
    """Join texts, in pieces of many."""
    rest, before = iter(texts), ""
    while batch := list(islice(rest, _LINES)):
        yield before + separator.join(batch)
        before = separator


def _to_dict(value: Any) -> Any:
    return value.to_dict()


def _escaped(text: str) -> str:
    """Escape control characters, and bytes that are not text: file names may hold both."""
    text = _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write(stream: TextIO | None, text: str | Iterable[str]) -> None:
    """Write a line, or lines in pieces; a reader that closed its pipe does not stop a download.

    Raises:
        DestinationError: standard output cannot be written, on a full disk for instance.
    """
    if stream is None or not text:
        return
    try:
        end = ""
        for piece in (text,) if isinstance(text, str) else text:
            stream.write(encodable(stream, piece))
            end = "\n"
        stream.write(end)
        stream.flush()
    except BrokenPipeError:
        discard_output(stream)
    except ValueError:
        return  # the stream is closed
    except OSError as error:
        if stream is sys.stdout:
            is_closed_terminal = error.errno == errno.EIO and stat.S_ISCHR(
                os.fstat(stream.fileno()).st_mode
            )
            discard_output(stream)
            if not is_closed_terminal:
                reason = error.strerror or error
                raise DestinationError(
                    f"cannot write to standard output: {reason}",
                    hint="free some space, or write the output to another file",
                ) from error


def encodable(stream: TextIO, text: str) -> str:
    """The text without control characters, and without what the stream cannot encode."""
    text = _CONTROL.sub(" ", text)
    encoding = "utf-8" if is_unicode(stream) else stream.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding)


def is_unicode(stream: TextIO) -> bool:
    """Whether the stream can encode every character."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"


def discard_output(stream: TextIO) -> None:
    """Redirect a stream to the null device: what is still buffered cannot fail again."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return
