"""One request and its answer, and the seam where tests and the demonstration step in."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tcia_covid.demo.corpus import Corpus, Selection
from tcia_covid.demo.rows import Generation, Row, Value
from tcia_covid.demo.zip_writer import Entry

TEXT = "text/plain"
JSON = "application/json"
CSV = "text/csv"
FAILED = "Server was not able to process your request\n"
ATTACHMENT = {"Content-Disposition": 'attachment; filename="SeriesMetaData.csv"'}


class DisconnectError(Exception):
    """Raised from a reply's body: the connection ends there, without the end of the body."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("the archive drops the connection")
        self.reset = reset
        """Whether it ends with a TCP reset instead of an orderly close."""


@dataclass(slots=True)
class Reply:
    """What is sent back.

    A `body` in pieces is sent as it comes; an empty piece sends what is buffered so far.
    """

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class RequestRecord:
    """One line of the server's log."""

    method: str
    generation: Generation
    endpoint: str
    params: Mapping[str, str]
    """Query and form parameters, the first value of each."""
    headers: Mapping[str, str]
    status: int = 0
    sent: int = 0
    """Bytes of the body that were handed to the network."""


@dataclass(slots=True)
class Call:
    """A request as the endpoints see it."""

    record: RequestRecord
    form: Mapping[str, list[str]]
    """Every value of every form field."""
    wanted: Selection
    """What the parameters that the endpoint knows ask for."""
    corpus: Corpus
    order: random.Random | None
    """Where the database's arbitrary order comes from; None keeps the corpus' order."""
    stopping: threading.Event
    """Set when the server stops: whatever waits should wait on this."""
    entries: Callable[[Iterable[Entry]], Iterable[Entry]]
    """What stands between the entries of a ZIP and its writer."""
    compression: int

    @property
    def endpoint(self) -> str:
        """The last part of the path."""
        return self.record.endpoint

    @property
    def generation(self) -> Generation:
        """Which generation of the API was called."""
        return self.record.generation

    @property
    def params(self) -> Mapping[str, str]:
        """Query and form parameters, the first value of each."""
        return self.record.params


class Interceptor:
    """Stands between the endpoints and the network; this one changes nothing.

    Subclasses answer in an endpoint's place, wrap the body of its reply, or change the entries of
    a ZIP. Methods are called from many threads.
    """

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        """The reply to `call`; `proceed` gives the endpoint's own."""
        del call
        return proceed()

    def entries(self, call: Call, entries: Iterable[Entry]) -> Iterable[Entry]:
        """The entries of the ZIP that answers `call`."""
        del call
        return entries


def failure(message: str = "null") -> Reply:
    """NBIA's answer to any exception that nobody caught."""
    return Reply((FAILED + message).encode(), 500, TEXT)


def refusal(message: str) -> Reply:
    """A 400 with a sentence, which NBIA labels JSON although it is plain text."""
    return Reply(message.encode(), 400, JSON)


def rows_reply(rows: Sequence[Row], wanted: str | None) -> Reply:
    """A list in the format of the call: JSON or CSV; no rows give 200 and no body at all."""
    if not rows:
        return Reply()
    kind = (wanted or "JSON").upper()
    if kind == "JSON":
        return Reply(json_list([json_object(row) for row in rows]), content_type=JSON)
    if kind in ("CSV", "CSVQUOTED", "CSV-DOWNLOAD"):
        return _csv_reply(rows, kind)
    return failure()


def json_list(objects: Sequence[bytes]) -> bytes:
    """The JSON array of `objects`."""
    return b"[" + b",".join(objects) + b"]"


def json_object(row: Row) -> bytes:
    """One row as Jettison prints it: no nulls, slashes escaped, whole decimals as integers."""
    shown = {column: _number(value) for column, value in row.items() if value is not None}
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
    return text.replace("/", "\\/").encode()


def json_reply(value: object) -> Reply:
    """A document as Jackson prints it: nulls are kept, slashes are not escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Reply(text.encode(), content_type=JSON)


def _csv_reply(rows: Sequence[Row], kind: str) -> Reply:
    columns = list(rows[0])
    single = len(columns) == 1
    lines = [_plain_line(row) if single else _quoted_line(list(row.values())) for row in rows]
    header = columns[0] if single else _quoted_line(list(columns))
    body = "".join(f"{line}\n" for line in (header, *lines)).encode()
    if kind != "CSV-DOWNLOAD":
        return Reply(body, content_type=CSV)
    return Reply(body, 200, "application/force-download" if single else CSV, dict(ATTACHMENT))


def _plain_line(row: Row) -> str:
    return _cell(next(iter(row.values())))


def _quoted_line(values: Sequence[Value]) -> str:
    # A null in the first column leaves the opening quote out, as the server does.
    cells = [_cell(value).replace('"', '""') for value in values]
    opening = "" if values[0] is None else '"'
    return opening + '","'.join(cells) + '"'


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _number(value: Value) -> Value:
    return int(value) if isinstance(value, float) and value.is_integer() else value
