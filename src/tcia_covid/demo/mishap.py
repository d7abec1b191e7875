"""What goes wrong on purpose in the demonstration: the line breaks in the middle of a series."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tcia_covid.demo.exchange import Call, DisconnectError, Interceptor, Reply

_SHARE = 0.9
"""How much of the ZIP still arrives."""


class CutOnce(Interceptor):
    """Cuts the first ZIP of series `uid` shortly before its end."""

    def __init__(self, uid: str) -> None:
        self._uid = uid
        self._happened = False

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        """Cut the body of the request that is waited for."""
        reply = proceed()
        meant = call.endpoint == "getImage" and call.params.get("SeriesInstanceUID") == self._uid
        if meant and not self._happened:
            self._happened = True
            body = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)
            reply.body = _cut(body)
        return reply


def _cut(body: bytes) -> Iterator[bytes]:
    yield body[: int(len(body) * _SHARE)]
    raise DisconnectError
