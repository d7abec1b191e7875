"""Faults of an S3 server, for `s3_proxy`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

LISTING = "list-type=2"


@dataclass(frozen=True, slots=True)
class Seen:
    """One request."""

    path: str
    """With its query."""
    headers: dict[str, str]
    connection: int
    """The same for all requests of one connection."""

    @property
    def listing(self) -> bool:
        """Whether it asks for a list."""
        return LISTING in self.path


@dataclass(slots=True)
class Reply:
    """A response; `limit` cuts the body, `broken` says how."""

    status: int
    headers: dict[str, str]
    body: bytes
    limit: int | None = None
    pause: float = 0.0
    """Seconds of silence before the end, where the body is cut."""
    framed: bool = True
    """Whether the response has the length of the body."""


@dataclass
class Fault:
    """Strikes requests whose path has `on` in it: `times` of them, after the first `skip`."""

    on: str = ""
    times: int | None = field(default=1, kw_only=True)
    skip: int = field(default=0, kw_only=True)
    hits: int = field(default=0, init=False)
    seen: int = field(default=0, init=False)

    def due(self, seen: Seen) -> bool:
        """Whether it strikes this request; called under the proxy's lock."""
        if self.on not in seen.path:
            return False
        self.seen += 1
        struck = self.seen > self.skip and (self.times is None or self.hits < self.times)
        self.hits += struck
        return struck

    def before(self, headers: dict[str, str]) -> None:
        """Change the request on its way to the server."""

    def after(self, reply: Reply) -> Reply:
        """Change the answer on its way back."""
        return reply


@dataclass
class Cut(Fault):
    """Ends the body after `after` bytes, with a reset."""

    after_bytes: int = 0

    def after(self, reply: Reply) -> Reply:
        reply.limit = self.after_bytes
        return reply


@dataclass
class Stall(Cut):
    """Falls silent for `seconds` after `after_bytes` bytes."""

    seconds: float = 2.0

    def after(self, reply: Reply) -> Reply:
        reply.pause = self.seconds
        return super().after(reply)


@dataclass
class Unframed(Cut):
    """Tells no length, and ends cleanly too early: HTTP says that all is well."""

    def after(self, reply: Reply) -> Reply:
        reply.framed = False
        reply.body = reply.body[: self.after_bytes]
        return reply


@dataclass
class Say(Fault):
    """Answers something else."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def after(self, reply: Reply) -> Reply:
        return Reply(self.status, dict(self.headers), self.body)


@dataclass
class SlowDown(Say):
    """S3's way to push back."""

    status: int = 503
    body: bytes = (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code>'
        b"<Message>Please reduce your request rate.</Message></Error>"
    )


@dataclass
class Forge(Fault):
    """Changes headers of the answer."""

    headers: dict[str, str] = field(default_factory=dict)

    def after(self, reply: Reply) -> Reply:
        kept = {n: v for n, v in reply.headers.items() if n.lower() not in self._names()}
        reply.headers = kept | self.headers
        return reply

    def _names(self) -> set[str]:
        return {name.lower() for name in self.headers}


@dataclass
class Rewrite(Fault):
    """Changes the body of the answer."""

    change: Callable[[bytes], bytes] = bytes

    def after(self, reply: Reply) -> Reply:
        reply.body = self.change(reply.body)
        return reply


@dataclass
class Unconditional(Fault):
    """The server knows neither ranges nor conditions."""

    names: tuple[str, ...] = ("range", "if-match")

    def before(self, headers: dict[str, str]) -> None:
        for name in [name for name in headers if name.lower() in self.names]:
            del headers[name]


@dataclass
class Meanwhile(Fault):
    """Does something at the server before the request gets there."""

    act: Callable[[], object] = lambda: None

    def before(self, headers: dict[str, str]) -> None:
        self.act()


@dataclass
class Delay(Fault):
    """Lets the answer wait."""

    seconds: float = 0.05
    times: int | None = field(default=None, kw_only=True)

    def after(self, reply: Reply) -> Reply:
        time.sleep(self.seconds)
        return reply
