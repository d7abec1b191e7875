"""An HTTP proxy in front of an S3 server that records requests and injects faults.

with S3Proxy(server.port, Cut("/a.dcm", after=1000), SlowDown(times=3)) as proxy:
    IdcArchive(client, proxy.url, ...)
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tcia_covid.http.watchdog import shut_down
from tests.fakes.s3_faults import Fault, Reply, Seen


class S3Proxy:
    """Passes requests on to the S3 server at `port`, past the faults in order."""

    def __init__(self, port: int, *faults: Fault) -> None:
        self.faults = list(faults)
        self.seen: list[Seen] = []
        self.sent = 0
        """Bytes of objects' bodies that went out."""
        self.most_at_once = 0
        """Requests that waited for their answers together."""
        self._at_once = 0
        self._upstream = port
        self._lock = threading.Lock()
        self.closing = threading.Event()
        """Set when it closes: pauses end."""
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def __enter__(self) -> S3Proxy:
        return self

    def __exit__(self, *exception: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.close_all()
        self._server.server_close()
        self._thread.join()

    def objects(self) -> list[Seen]:
        """The requests for objects."""
        return [seen for seen in self.seen if not seen.listing]

    def lists(self) -> list[Seen]:
        """The requests for lists."""
        return [seen for seen in self.seen if seen.listing]

    def pass_on(self, seen: Seen) -> Reply:
        """Give the answer to a request, faults and all."""
        with self._lock:
            self.seen.append(seen)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            due = [fault for fault in self.faults if fault.due(seen)]
        try:
            return self._reply(seen, due)
        finally:
            # Before the answer goes out: whoever has it may ask again at once.
            with self._lock:
                self._at_once -= 1

    def note_sent(self, seen: Seen, count: int) -> None:
        """A response was sent, or the part that was to be sent."""
        with self._lock:
            self.sent += 0 if seen.listing else count

    def _reply(self, seen: Seen, due: list[Fault]) -> Reply:
        headers = dict(seen.headers)
        for fault in due:
            fault.before(headers)
        reply = self._ask(seen.path, headers)
        for fault in due:
            reply = fault.after(reply)
        return reply

    def _ask(self, path: str, headers: dict[str, str]) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            dropped = ("connection", "content-length", "date", "server")
            kept = {n: v for n, v in response.getheaders() if n.lower() not in dropped}
            return Reply(response.status, kept, body)
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is its own affair."""

    def close_all(self) -> None:
        """Wake the handlers that wait for a next request."""
        for connection in list(self._open):
            shut_down(connection)


def _handler_of(proxy: S3Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            headers = {n: v for n, v in self.headers.items() if n.lower() != "host"}
            seen = Seen(self.path, headers, self.client_address[1])
            proxy.note_sent(seen, self._send(proxy.pass_on(seen)))

        def _send(self, reply: Reply) -> int:
            self.send_response(reply.status)
            self.close_connection = not reply.framed or reply.limit is not None
            lengths = {"Content-Length": str(len(reply.body))} if reply.framed else {}
            for name, value in (lengths | reply.headers).items():
                self.send_header(name, value)
            self.end_headers()
            body = reply.body[: reply.limit]
            self.wfile.write(body)
            if reply.limit is not None:
                self.wfile.flush()
                proxy.closing.wait(reply.pause)
                if not reply.pause:
                    time.sleep(0.02)  # what is still on its way is not to be lost with the reset
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return len(body)

        def log_message(self, *args: Any) -> None:
            """Nothing: the tests look at `seen`."""

    return Handler
