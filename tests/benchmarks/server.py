"""A server of prebuilt answers that costs next to nothing: bodies go from the page cache.

`python -m tests.benchmarks.server FOLDER --latency 0.3 --rate 4000000` prints its base URL and
serves a collection of `inputs` until its standard input ends. Besides the calls of NBIA's v4 that
a download needs, `/statistics` tells what was asked for, as JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import resource
import socket
import ssl
import sys
import threading
import time
import zipfile
import zlib
from collections import Counter
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.benchmarks.inputs import Input, Recipe, image_uid
from tests.benchmarks.zips import without_chunks

_SLICE = 0.05
"""Seconds' worth of bytes that are sent at once under a rate."""
_RECORDS = 256 * 1024
"""Bytes that are encrypted at a time."""


class Server:
    """Answers from threads, one a connection.

    Args:
        made: what it serves.
        latency: seconds before an answer's first byte.
        rate: bytes a second of each connection; None for as fast as it goes.
        tls: encrypts each connection, where there is one.
    """

    def __init__(
        self,
        made: Input,
        *,
        latency: float = 0.0,
        rate: float | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._made = made
        self._latency = latency
        self._rate = rate
        self._tls = tls
        self._list = (made.folder / "list.json").read_bytes()
        self._asked: Counter[str] = Counter()
        self._series: Counter[str] = Counter()
        self._sent = 0
        self._lock = threading.Lock()
        self._zip = lru_cache(maxsize=8)(lambda uid: without_chunks(made.body(uid).read_bytes()))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http{'s' * bool(tls)}://127.0.0.1:{self._listener.getsockname()[1]}/v4"

    def serve(self) -> None:
        """Accept connections until the process ends."""
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                while request := _request(connection):
                    self._answer(connection, *request)
        except OSError:
            return  # the client is gone

    def _answer(self, connection: socket.socket, target: str, form: str) -> None:
        began = time.monotonic()
        url = urlsplit(target)
        fields = parse_qs(f"{url.query}&{form}")
        query = {name: values[0] for name, values in fields.items()}
        endpoint = url.path.rpartition("/")[2]
        if endpoint == "statistics":
            connection.sendall(_whole(json.dumps(self._statistics()).encode()))
            return
        with self._lock:
            self._asked[endpoint] += 1
        time.sleep(max(0.0, began + self._latency - time.monotonic()))
        if endpoint == "getImage":
            self._send_series(connection, query["SeriesInstanceUID"])
            return
        body = self._small(endpoint, query)
        connection.sendall(_whole(body))
        with self._lock:
            self._sent += len(body)

    def _send_series(self, connection: socket.socket, uid: str) -> None:
        with self._lock:
            self._series[uid] += 1
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        with self._made.body(uid).open("rb") as body:
            self._pour(connection, body.fileno(), os.fstat(body.fileno()).st_size)

    def _pour(self, connection: socket.socket, body: int, size: int) -> None:
        began, at = time.monotonic(), 0
        piece = int(self._rate * _SLICE) if self._rate else size
        while at < size:
            sent = self._send(connection, body, at, min(piece, size - at))
            at += sent
            with self._lock:
                self._sent += sent
            if self._rate:
                time.sleep(max(0.0, began + at / self._rate - time.monotonic()))

    def _send(self, connection: socket.socket, body: int, at: int, count: int) -> int:
        if self._tls is None:
            return os.sendfile(connection.fileno(), body, at, count)
        piece = os.pread(body, min(count, _RECORDS), at)
        connection.sendall(piece)
        return len(piece)

    def _small(self, endpoint: str, query: dict[str, str]) -> bytes:
        if endpoint == "getCollectionValues":
            return json.dumps([{"Collection": self._made.recipe.collection}]).encode()
        if endpoint == "getSeries":
            return self._list
        uid = query["SeriesInstanceUID"]
        numbers = range(1, self._made.recipe.images + 1)
        if endpoint == "getMD5Hierarchy":
            return self._series_md5(uid)
        if endpoint == "getSOPInstanceUIDs":
            rows = [{"SOPInstanceUID": image_uid(uid, number)} for number in numbers]
            return json.dumps(rows).encode()
        return self._image(uid, int(query["SOPInstanceUID"].rpartition(".")[2]))

    def _series_md5(self, uid: str) -> bytes:
        with zipfile.ZipFile(io.BytesIO(self._zip(uid))) as archive:
            lines = archive.read("md5hashes.csv").decode().splitlines()[1:]
        joined = "".join(sorted(line.rpartition(",")[2] for line in lines))
        return hashlib.md5(joined.encode()).hexdigest().encode()

    def _image(self, uid: str, number: int) -> bytes:
        """One image; made from its series' ZIP."""
        place = self._made.places(uid)[number - 1]
        packed = self._zip(uid)[place.offset : place.offset + place.packed]
        return zlib.decompress(packed, -zlib.MAX_WBITS)

    def _statistics(self) -> dict[str, object]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "asked": dict(self._asked),
            "series": dict(self._series),
            "sent": self._sent,
            "cpu": round(used.ru_utime + used.ru_stime, 3),
        }


def _request(connection: socket.socket) -> tuple[str, str] | None:
    """The target of the next request, and its form; None when the client has closed."""
    received = b""
    while b"\r\n\r\n" not in received or len(received) < _length(received):
        more = connection.recv(65536)
        if not more:
            return None
        received += more
    head, _, form = received.partition(b"\r\n\r\n")
    return head.split(b" ", 2)[1].decode(), form.decode()


def _length(received: bytes) -> int:
    """Bytes of a request whose head is there, its form included."""
    head = received.partition(b"\r\n\r\n")[0]
    said = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return len(head) + 4 + (int(said[1]) if said else 0)


def _whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def certified(authority: Path) -> ssl.SSLContext:
    """A TLS context of 127.0.0.1; the certificate of its CA is written to a file."""
    import trustme  # noqa: PLC0415 - only TLS needs it

    vouching = trustme.CA()
    vouching.cert_pem.write_to_path(str(authority))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    vouching.issue_cert("127.0.0.1").configure_cert(context)
    return context


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--authority", type=Path, help="serve over TLS; write its CA here")
    options = parser.parse_args()
    recipe = Recipe(**json.loads((options.folder / "done").read_text()))
    tls = certified(options.authority) if options.authority else None
    made = Input(recipe, options.folder)
    server = Server(made, latency=options.latency, rate=options.rate, tls=tls)
    threading.Thread(target=server.serve, daemon=True).start()
    print(server.url, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
