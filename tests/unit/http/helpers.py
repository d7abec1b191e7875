"""Sends single requests in a test."""

from __future__ import annotations

import math
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import TciaCovidError
from tcia_covid.core.events import Event
from tcia_covid.http.client import Client
from tcia_covid.http.settings import HttpSettings
from tests.waiting import LONG, SOON, wait_for

QUICK = HttpSettings(
    connect_timeout=LONG, first_byte_timeout=LONG, stall_timeout=LONG, retries=3, retry_wait=0.01
)
SECRET = "hunter2"


@dataclass
class Waiting:
    """How a thread that was waiting ended."""

    error: BaseException | None = None


@contextmanager
def client_with(
    *,
    stop: CancelToken | None = None,
    events: list[Event] | None = None,
    jobs: int = 8,
    max_pause: float = math.inf,
    **changes: object,
) -> Iterator[Client]:
    """A client of quick settings, with `changes`."""
    emit = (events if events is not None else []).append
    client = Client(
        replace(QUICK, **changes),
        stop=stop,
        connections=jobs,
        max_pause=max_pause,
        emit=emit,
    )
    try:
        yield client
    finally:
        client.close()


def get(client: Client, url: str, received: bytearray | None = None, **options: object) -> bytes:
    """Send one GET, one attempt; what arrived before an error stays in `received`."""
    body = bytearray() if received is None else received
    with client.stream("GET", url, **options) as response:
        for chunk in response.chunks():
            body += chunk
    return bytes(body)


def fetch(client: Client, url: str, **options: object) -> bytes:
    """Send a GET, with retries."""
    return client.fetch(url, lambda response: response.read_all(1 << 20), **options)


def stop_while(
    wait: Callable[[], object], stop: CancelToken, once: Callable[[], object] = lambda: True
) -> Waiting:
    """Run `wait` in a thread, set `stop` a little after `once` is true; return how it ended."""
    ended = Waiting()

    def run() -> None:
        try:
            wait()
        except TciaCovidError as error:
            ended.error = error

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(once)
    time.sleep(0.08)
    assert thread.is_alive(), "it did not wait"
    stop.set()
    thread.join(SOON)
    assert not thread.is_alive()
    return ended


@contextmanager
def trusted_tls(folder: Path) -> Iterator[ssl.SSLContext]:
    """TLS of a server on this machine; clients trust its certificate in the block."""
    authority = trustme.CA()
    bundle = folder / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        yield context


def in_threads(count: int, work: Callable[[], object]) -> None:
    """Run `work` in `count` threads at once."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
