"""A server that speaks as much of S3 as downloads need; objects go from the page cache.

`python -m tests.benchmarks.s3_server FOLDER --latency 0.05` prints its base URL and serves a
collection of `objects` until its standard input ends.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.benchmarks.objects import BUCKET
from tests.benchmarks.server import certified

_RECORDS = 256 * 1024
"""Bytes that are encrypted at a time."""
_HEAD = re.compile(rb"(GET|HEAD) (\S+) HTTP/1\.1\r\n.*?\r\n\r\n", re.DOTALL)
_RANGE = re.compile(rb"(?i)\r\nrange: *bytes=(\d+)-(\d*)")


class Server:
    """Answers from threads, one per connection.

    Args:
        folder: what it serves, of `objects`.
        latency: seconds before a response's first byte.
        tls: encrypts each connection, if given.
    """

    def __init__(self, folder: Path, latency: float, tls: ssl.SSLContext | None) -> None:
        self._folder = folder / "objects"
        self._pause = max(0.0, latency - _oversleep(latency))
        self._tls = tls
        listed = json.loads((folder / "objects.json").read_bytes())
        self._lists = {uuid: _listing(uuid, objects) for uuid, objects in listed.items()}
        self._objects = {
            f"/{BUCKET}/{uuid}/{name}": (f"{self._folder}/{uuid}/{name}", size, md5)
            for uuid, objects in listed.items()
            for name, size, md5 in objects
        }
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http{'s' * bool(tls)}://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """Accept connections until the process ends."""
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                while more := connection.recv(65536):
                    began = time.monotonic()
                    received += more
                    while request := _HEAD.match(received):
                        received = received[request.end() :]
                        time.sleep(max(0.0, began + self._pause - time.monotonic()))
                        self._answer(connection, request[2].decode(), request[0])
        except OSError:
            return  # the client is gone

    def _answer(self, connection: socket.socket, target: str, head: bytes) -> None:
        if head.startswith(b"HEAD"):  # of the bucket
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        if known := self._objects.get(target.partition("?")[0]):
            self._send_object(connection, head, *known)
            return
        prefix = parse_qs(urlsplit(target).query).get("prefix", [""])[0]
        body = self._lists.get(prefix.partition("/")[0], _EMPTY)
        kind = b"Content-Type: application/xml\r\n"
        connection.sendall(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (kind, len(body)))
        connection.sendall(body)

    def _send_object(
        self, connection: socket.socket, head: bytes, path: str, size: int, md5: str
    ) -> None:
        status, start, end = b"200 OK", 0, size
        if wanted := _RANGE.search(head):
            start = int(wanted[1])
            end = min(size, int(wanted[2] or size) + 1)
            status = b"206 Partial Content\r\nContent-Range: bytes %d-%d/%d" % (
                start,
                end - 1,
                size,
            )
        fields = (status, end - start, md5.encode())
        answer = b'HTTP/1.1 %b\r\nContent-Length: %d\r\nETag: "%b"\r\n' % fields
        answer += b"Last-Modified: Fri, 01 Jan 2021 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n\r\n"
        handle = os.open(path, os.O_RDONLY)
        try:
            if self._tls is None:
                connection.sendall(answer, socket.MSG_MORE)
                while start < end:
                    start += os.sendfile(connection.fileno(), handle, start, end - start)
                return
            connection.sendall(answer)
            while start < end:
                piece = os.pread(handle, min(_RECORDS, end - start), start)
                connection.sendall(piece)
                start += len(piece)
        finally:
            os.close(handle)


def _oversleep(pause: float) -> float:
    """How much longer this machine sleeps than asked for, in seconds."""
    taken = []
    for _ in range(9 if pause else 0):
        began = time.monotonic()
        time.sleep(pause)
        taken.append(time.monotonic() - began - pause)
    return sorted(taken)[len(taken) // 2] if taken else 0.0


def _listing(uuid: str, objects: list[tuple[str, int, str]]) -> bytes:
    entries = "".join(
        f"<Contents><Key>{uuid}/{name}</Key><LastModified>2021-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{md5}&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass>"
        "</Contents>"
        for name, size, md5 in objects
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{uuid}/</Prefix><KeyCount>{len(objects)}</KeyCount>"
        f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    ).encode()


_EMPTY = _listing("none", [])


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--authority", type=Path, help="serve over TLS; write its CA here")
    options = parser.parse_args()
    tls = certified(options.authority) if options.authority else None
    server = Server(options.folder, options.latency, tls)
    threading.Thread(target=server.serve, daemon=True).start()
    print(server.url, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
