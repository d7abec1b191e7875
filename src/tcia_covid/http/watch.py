"""The thread that breaks off calls which are overdue or too slow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tcia_covid.http.call import Break, Call
from tcia_covid.settings import HttpSettings


class Watch:
    """Looks at all calls under way, a few times a rate window and at least every second."""

    def __init__(self, settings: HttpSettings) -> None:
        self._period = min(1.0, settings.rate_window / 4, settings.first_byte_timeout / 4)
        self._lock = threading.Lock()
        self._calls: set[Call] = set()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @contextmanager
    def over(self, call: Call) -> Iterator[None]:
        """Watch `call` meanwhile, and let go of its connection afterwards."""
        with self._lock:
            self._calls.add(call)
            if self._thread is None:
                self._start()
        try:
            yield
        finally:
            with self._lock:
                self._calls.discard(call)
            call.finish()

    def break_all(self) -> None:
        """Break off every call under way: the run is to end."""
        for call in self._under_way():
            call.break_off(Break.STOPPED)

    def close(self) -> None:
        """End the thread; a later call starts another one."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._closed.set()
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._closed,), name="http-watch", daemon=True
        )
        self._thread.start()

    def _run(self, closed: threading.Event) -> None:
        while not closed.wait(self._period):
            for call in self._under_way():
                call.judge()

    def _under_way(self) -> list[Call]:
        with self._lock:
            return list(self._calls)
