"""Sending requests: shared connections, every wait bounded, every failure a typed error."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError
from tcia_covid.core.events import Emit, RequestRetried, discard
from tcia_covid.core.redaction import redact
from tcia_covid.http.response import Response
from tcia_covid.http.retry import Limit, Reachability, RetryPolicy, no_limit
from tcia_covid.http.settings import HttpSettings
from tcia_covid.http.throttle import ByteCounter, ConcurrencyLimiter, RateLimiter
from tcia_covid.http.watchdog import ActiveRequest, Watchdog

if TYPE_CHECKING:
    from tcia_covid.http.session import ArchiveSession

T = TypeVar("T")
Params = Mapping[str, str]


class Client:
    """Sends requests to one archive, from any number of threads.

    Args:
        settings: timeouts, rates, retries.
        stop: ends every wait except for DNS and the TCP handshake.
        connections: the maximum number of simultaneous requests to one host.
        max_pause: seconds that a request waits where its host asked for a pause; for what is
            available elsewhere as well.
        meter: counts the bytes received; shared between archives.
        rate: enforces the settings' maximum rate; shared between archives.
        reachability: notes the first response; shared between archives.
        emit: is given retries and changes of the concurrency.
    """

    def __init__(
        self,
        settings: HttpSettings | None = None,
        *,
        stop: CancelToken | None = None,
        connections: int = 8,
        max_pause: float = math.inf,
        meter: ByteCounter | None = None,
        rate: RateLimiter | None = None,
        reachability: Reachability | None = None,
        emit: Emit = discard,
    ) -> None:
        self.settings = settings or HttpSettings()
        self.stop = stop or CancelToken()
        self.meter = meter or ByteCounter()
        self.reachability = reachability or Reachability()
        self.connections = connections
        self.max_pause = max_pause
        self.watchdog = Watchdog(self.settings)
        self.emit = emit
        self._rate = rate or RateLimiter(self.settings.max_rate, self.stop)
        self._limiters: dict[str, ConcurrencyLimiter] = {}
        self._session: ArchiveSession | None = None
        self._lock = threading.Lock()
        self.stop.on_stop(self.watchdog.abort_all)

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        form: Params | None = None,
        headers: Params | None = None,
        on_slot: Callable[[], None] = lambda: None,
    ) -> Iterator[Response]:
        """Send one request, without retries; gives the response while its body arrives.

        Must not be nested in one thread (see `ConcurrencyLimiter.slot`). `on_slot` is called when
        the request may be sent, after it has waited for others to end. A request ends with the last
        byte of its response: its slot and connection serve others while these bytes are processed.

        Raises:
            ArchiveError: no response, or an HTTP status other than 2xx.
            PausedError: the host asked for a pause of more than `max_pause` seconds.
            RequestError: the URL, the proxy or the CA bundle cannot be used.
            TciaCovidError: the run was canceled.
        """
        request = ActiveRequest(self.settings)
        limiter = self.limiter(url)
        with limiter.slot() as slot, self.watchdog.watch(request):
            # Again: from now on, `abort_all` includes this request.
            self.stop.check()
            on_slot()
            session = self.session()
            self.reachability.begin()
            try:
                raw, final_url = session.send_watched(request, method, url, params, form, headers)
                self.reachability.responded = True
                try:
                    with closing(
                        Response(raw, final_url, request, self.stop, self.meter, self._rate)
                    ) as response:
                        session.check_head(response, self.settings)
                        response.on_end = partial(limiter.succeeded, slot)
                        yield response
                finally:
                    session.return_buffer(raw)
                limiter.succeeded(slot)
            except ArchiveError as error:
                self.stop.check()  # a canceled run aborts its requests
                if error.push_back:
                    limiter.push_back(slot.started, error.message, error.retry_after)
                elif error.retry_after is not None:
                    limiter.pause(error.retry_after)
                raise

    def fetch(
        self,
        url: str,
        read: Callable[[Response], T],
        *,
        params: Params | None = None,
        form: Params | None = None,
        headers: Params | None = None,
        limit: Limit = no_limit,
    ) -> T:
        """Send a GET, or a POST of `form`, with retries, until `read` accepts a response.

        `read` raises a retryable `ArchiveError` where a retry may help; `limit` gives a smaller
        number of retries for some errors.
        """
        name = redact(url).rstrip("/").rpartition("/")[2]
        method = "GET" if form is None else "POST"

        def attempt() -> T:
            with self.stream(method, url, params=params, form=form, headers=headers) as response:
                return read(response)

        return self.retry_policy(name).run(attempt, limit)

    def retry_policy(self, name: str) -> RetryPolicy:
        """A policy that emits a `RequestRetried` of `name` before each retry."""
        return RetryPolicy(
            self.settings,
            self.stop,
            lambda reason, wait: self.emit(RequestRetried(name, reason, wait)),
            reachability=self.reachability,
        )

    def limiter(self, url: str) -> ConcurrencyLimiter:
        """The limiter of the URL's host: what one host asks for delays no other."""
        origin = "/".join(url.split("/", 3)[:3])  # quicker than parsing it for each request
        with self._lock:
            if origin not in self._limiters:
                host = urlsplit(redact(url)).netloc
                self._limiters[origin] = ConcurrencyLimiter(
                    self.connections, self.stop, self.emit, host=host, max_pause=self.max_pause
                )
            return self._limiters[origin]

    def session(self) -> ArchiveSession:
        """The session of all threads."""
        with self._lock:
            if self._session is None:
                # Requests takes 0.1 s to import, and some commands need no archive.
                from tcia_covid.http.session import ArchiveSession  # noqa: PLC0415

                self._session = ArchiveSession(self.connections)
            return self._session

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()
        self.watchdog.close()
