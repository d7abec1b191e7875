"""How a body goes over the wire: as Jersey sends it, whose buffer holds 8 KiB."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tcia_covid.demo.exchange import DisconnectError, RequestRecord

BUFFER = 8192


class BodySender:
    """Sends one body: with its length where it fits the buffer, else in chunks of the buffer.

    Args:
        send: hands bytes to the network.
        head: the response's head; its argument is the length, None for a chunked body.
        record: where the bytes sent are counted.
    """

    def __init__(
        self,
        send: Callable[[bytes], object],
        head: Callable[[int | None], bytes],
        record: RequestRecord,
    ) -> None:
        self._send = send
        self._head = head
        self._record = record
        self._buffer = bytearray()
        self._started = False

    def send(self, pieces: Iterable[bytes]) -> None:
        """Send the whole body.

        Raises:
            DisconnectError: the body asks for the connection to be dropped; what came before it
                has been sent, without the end of the body.
        """
        try:
            for piece in pieces:
                self._take(piece)
        except DisconnectError:
            self._send_chunks(len(self._buffer))
            raise
        self._finish()

    def _take(self, piece: bytes) -> None:
        self._buffer += piece
        if not piece:
            self._send_chunks(len(self._buffer))
        elif len(self._buffer) > BUFFER:
            self._send_chunks(len(self._buffer) // BUFFER * BUFFER)

    def _send_chunks(self, size: int) -> None:
        out = bytearray() if self._started else bytearray(self._head(None))
        self._started = True
        for start in range(0, size, BUFFER):
            chunk = bytes(self._buffer[start : min(start + BUFFER, size)])
            out += b"%x\r\n%b\r\n" % (len(chunk), chunk)
        del self._buffer[:size]
        self._record.sent += size
        self._send(bytes(out))

    def _finish(self) -> None:
        size = len(self._buffer)
        if self._started:
            if size:
                self._send_chunks(size)
            self._send(b"0\r\n\r\n")
        else:
            self._record.sent += size
            self._send(self._head(size) + bytes(self._buffer))
