"""One request and its answer, and the seam where tests and the demonstration step in."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tcia_covid.demo.corpus import Corpus, Selection
from tcia_covid.demo.javazip import Entry
from tcia_covid.demo.rows import Generation

TEXT = "text/plain"


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
