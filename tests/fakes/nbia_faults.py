"""Faults of an NBIA server: each intercepts the calls that it names.

    faults = Faults(Cut("getImage", at=20_000), Status("getSeries", code=503, times=2))
    with ArchiveServer(corpus, interceptor=faults) as server: ...

Every fault takes the endpoint to watch, and may be narrowed to a series or an image, skip the
first calls, and strike a number of `times` (None: always). Those that change the images of a ZIP
are in `zip_faults`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.fakes.nbia import Interceptor, ResetError
from tests.fakes.nbia_calls import not_granted
from tests.fakes.nbia_replies import Call, DisconnectError, Entry, Reply

PIECE = 8192
HTML = b"<html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"
TEXT_500 = b"Server was not able to process your request\nnull"


@dataclass(kw_only=True)
class Fault:
    """Strikes matching calls; `hits` counts how often it did."""

    on: str | tuple[str, ...] = field(default="", kw_only=False)
    series: str | None = None
    image: str | None = None
    """The SOPInstanceUID that the call asks for."""
    skip: int = 0
    times: int | None = 1
    hits: int = field(default=0, init=False)
    seen: int = field(default=0, init=False)
    lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def due(self, call: Call) -> bool:
        """Whether it strikes this call; counts it if it does."""
        if not self.concerns(call):
            return False
        with self.lock:
            self.seen += 1
            struck = self.seen > self.skip and (self.times is None or self.hits < self.times)
            self.hits += struck
        return struck

    def concerns(self, call: Call) -> bool:
        """Whether it watches for such a call."""
        names = (self.on,) if isinstance(self.on, str) else self.on
        return (
            (not self.on or call.endpoint in names)
            and self.series in (None, call.params.get("SeriesInstanceUID"))
            and self.image in (None, call.params.get("SOPInstanceUID"))
        )

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        """The reply in place of the endpoint's own."""
        return proceed()

    def entries(self, entries: Iterable[Entry]) -> Iterable[Entry]:
        """The entries in place of the ZIP's own."""
        return entries


class Faults(Interceptor):
    """Any number of faults; those due to a call act together, the first one outermost."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = list(faults)
        self._due = threading.local()

    def add(self, *faults: Fault) -> None:
        """More faults."""
        self.faults.extend(faults)

    def clear(self) -> None:
        """All is well from now on."""
        self.faults.clear()

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        due = [fault for fault in list(self.faults) if fault.due(call)]
        self._due.faults = due
        for fault in reversed(due):
            proceed = _within(fault, call, proceed)
        return proceed()

    def entries(self, call: Call, entries: Iterable[Entry]) -> Iterable[Entry]:
        for fault in reversed(self._due.faults):
            entries = fault.entries(entries)
        return entries


def _within(fault: Fault, call: Call, proceed: Callable[[], Reply]) -> Callable[[], Reply]:
    return lambda: fault.answer(call, proceed)


# What happens to the bytes of an answer.


@dataclass(kw_only=True)
class BodyFault(Fault):
    """Changes the body of a reply on its way."""

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        reply = proceed()
        return replace(reply, body=self.body(call, pieces_of(reply)))

    def body(self, call: Call, pieces: Iterator[bytes]) -> Iterator[bytes]:
        raise NotImplementedError


@dataclass(kw_only=True)
class Cut(BodyFault):
    """The connection ends after `at` bytes of the body; with a TCP reset if so wished."""

    at: int
    reset: bool = False

    def body(self, call: Call, pieces: Iterator[bytes]) -> Iterator[bytes]:
        yield from _first(pieces, self.at)
        raise ResetError if self.reset else DisconnectError


@dataclass(kw_only=True)
class EndEarly(BodyFault):
    """The body ends after `at` bytes, without an error that HTTP can show."""

    at: int

    def body(self, call: Call, pieces: Iterator[bytes]) -> Iterator[bytes]:
        return _first(pieces, self.at)


@dataclass(kw_only=True)
class Stall(BodyFault):
    """After `after` bytes nothing comes for `seconds`; then the rest."""

    after: int
    seconds: float

    def body(self, call: Call, pieces: Iterator[bytes]) -> Iterator[bytes]:
        rest: list[bytes] = []
        yield from _first(pieces, self.after, keep=rest)
        yield b""
        call.archive.stopping.wait(self.seconds)
        yield from rest
        yield from pieces


@dataclass(kw_only=True)
class Trickle(BodyFault):
    """The body comes in `size` bytes every `seconds`."""

    size: int = 1
    seconds: float = 0.1

    def body(self, call: Call, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            for start in range(0, len(piece), self.size):
                yield piece[start : start + self.size]
                yield b""
                if call.archive.stopping.wait(self.seconds):
                    return


@dataclass(kw_only=True)
class SlowStart(Fault):
    """Nothing at all comes for `seconds`, not even the status."""

    seconds: float

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        call.archive.stopping.wait(self.seconds)
        return proceed()


# Answers that are none.


@dataclass(kw_only=True)
class Status(Fault):
    """Another status, with a body and possibly a Retry-After (seconds, or a date)."""

    code: int = 500
    body: bytes = TEXT_500
    content_type: str = "text/plain"
    retry_after: str | None = None

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        return Reply(self.body, self.code, self.content_type, headers)


def html_status(on: str, code: int, **options: object) -> Status:
    """A status with the HTML page of a proxy in front."""
    return Status(on, code=code, body=HTML, content_type="text/html", **options)  # type: ignore[arg-type]


def html_page(on: str, **options: object) -> Status:
    """200 and a page for people."""
    return html_status(on, 200, **options)


@dataclass(kw_only=True)
class NotGranted(Fault):
    """The 400 that NBIA gives for a series it does not show, or on a database error."""

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        return not_granted(call)


@dataclass(kw_only=True)
class EmptyAnswer(Fault):
    """200 and nothing, as after a database error."""

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        return Reply()


@dataclass(kw_only=True)
class Redirect(Fault):
    """Sends the client elsewhere."""

    location: str
    code: int = 302

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        return Reply(status=self.code, headers={"Location": self.location})


@dataclass(kw_only=True)
class Answer(Fault):
    """A reply of the test's own; `body` may be a function of the body there would have been."""

    body: bytes | Callable[[bytes], bytes]
    content_type: str = "application/json"

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        body = self.body
        if not isinstance(body, bytes):
            body = body(b"".join(pieces_of(proceed())))
        return Reply(body, content_type=self.content_type)


@dataclass(kw_only=True)
class CutJson(Fault):
    """A list that ends in the middle, with a Content-Length that fits."""

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        reply = proceed()
        body = b"".join(pieces_of(reply))
        return replace(reply, body=body[: len(body) // 2])


@dataclass(kw_only=True)
class DropRows(Fault):
    """A list without `count` of its rows, or without those of the series named."""

    count: int = 1
    uids: tuple[str, ...] = ()

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        reply = proceed()
        rows = json.loads(b"".join(pieces_of(reply)))
        kept = [row for row in rows if row.get("SeriesInstanceUID") not in self.uids]
        kept = kept if self.uids else rows[self.count :]
        return replace(reply, body=json.dumps(kept).encode()) if kept else Reply()


@dataclass(kw_only=True)
class OtherRow(Fault):
    """A list that describes one series in another way."""

    uid: str
    facts: Mapping[str, object]

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        reply = proceed()
        rows = json.loads(b"".join(pieces_of(reply)))
        changed = [
            {**row, **self.facts} if row.get("SeriesInstanceUID") == self.uid else row
            for row in rows
        ]
        return replace(reply, body=json.dumps(changed).encode())


def pieces_of(reply: Reply) -> Iterator[bytes]:
    """The body of a reply, in pieces of the server's buffer."""
    if not isinstance(reply.body, bytes):
        yield from reply.body
        return
    for start in range(0, len(reply.body), PIECE):
        yield reply.body[start : start + PIECE]


def _first(pieces: Iterator[bytes], size: int, keep: list[bytes] | None = None) -> Iterator[bytes]:
    """The first `size` bytes; the rest of the piece in which they end is added to `keep`."""
    left = size
    while left > 0:
        piece = next(pieces, None)
        if piece is None:
            return
        if piece:
            yield piece[:left]
        if keep is not None and len(piece) > left:
            keep.append(piece[left:])
        left -= len(piece)
