"""Connects to a host over IPv6 or IPv4, whichever responds (happy eyeballs, RFC 8305)."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

HEAD_START = 0.3
"""Seconds that an address has before the next one is tried as well."""
# Unlike epoll, poll needs no file descriptor of its own.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


def connect(
    host: str,
    port: int,
    timeout: float,
    options: Sequence[tuple[Any, ...]] | None = None,
    *,
    head_start: float = HEAD_START,
) -> socket.socket:
    """Connect to the first address of `host` that accepts.

    Networks exist that drop all IPv6 packets: an address that does not respond costs `head_start`
    seconds, not `timeout`.

    Args:
        host: a name or an address.
        port: its port.
        timeout: seconds for all addresses together, and of the returned socket.
        options: arguments of `setsockopt`.
        head_start: see `HEAD_START`.

    Raises:
        socket.gaierror: the name cannot be resolved.
        TimeoutError: no address responded.
        OSError: no address accepted; the last error.
    """
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    waiting = deque(_alternate_families(found))
    deadline = time.monotonic() + timeout
    error: OSError = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    with _Selector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting:
                    try:
                        attempt = _start(waiting.popleft(), options)
                    except OSError as refused:
                        error = refused
                        continue
                    selector.register(attempt, selectors.EVENT_WRITE, attempt)
                left = max(0.0, deadline - time.monotonic())
                for key, _ in selector.select(min(head_start, left) if waiting else left):
                    sock: socket.socket = key.data
                    selector.unregister(sock)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        sock.settimeout(timeout)
                        return sock
                    sock.close()
                    error = OSError(code, os.strerror(code))
                if left == 0.0:
                    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        finally:
            for key in list(selector.get_map().values()):
                key.data.close()
    raise error


def _alternate_families(found: list[Any]) -> list[Any]:
    """Addresses of the preferred family and of the other one in turn."""
    preferred = [address for address in found if address[0] == found[0][0]]
    others = [address for address in found if address[0] != found[0][0]]
    return [one for pair in zip_longest(preferred, others) for one in pair if one is not None]


def _start(address: Any, options: Sequence[tuple[Any, ...]] | None) -> socket.socket:
    """Begin to connect to one address, as `getaddrinfo` returns it."""
    sock = socket.socket(*address[:3])
    try:
        for option in options or ():
            sock.setsockopt(*option)
        sock.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address[4])
    except OSError:
        sock.close()
        raise
    return sock
