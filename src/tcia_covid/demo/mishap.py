"""What goes wrong on purpose in the demonstration: the line breaks in the middle of a series."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tcia_covid.demo.exchange import Call, DisconnectError, Interceptor, Reply


class CutOnce(Interceptor):
    """Cuts the first ZIP of one series after a number of bytes.

    Args:
        uid: SeriesInstanceUID.
        after: bytes of the ZIP that still arrive.
        then: called when the line is cut.
    """

    def __init__(self, uid: str, after: int, then: Callable[[], None]) -> None:
        self._uid = uid
        self._after = after
        self._then = then
        self.happened = False

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        """Cut the body of the request that is waited for."""
        reply = proceed()
        meant = call.endpoint == "getImage" and call.params.get("SeriesInstanceUID") == self._uid
        if meant and not self.happened:
            self.happened = True
            reply.body = self._cut(reply.body)
        return reply

    def _cut(self, body: bytes | Iterator[bytes] | object) -> Iterator[bytes]:
        left = self._after
        for piece in [body] if isinstance(body, bytes) else iter(body):  # type: ignore[call-overload]
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                yield b""
                self._then()
                raise DisconnectError
