"""Sending requests: one session a thread, every wait bounded, every failure one of our errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, TypeVar

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, ConnectionLostError
from tcia_covid.core.events import Emit, Notice, RequestRetried, discard
from tcia_covid.core.redaction import redact
from tcia_covid.core.settings import HttpSettings
from tcia_covid.http.response import Response
from tcia_covid.http.retry import RetryPolicy
from tcia_covid.http.statuses import error_from_status, refuse_content_encoding
from tcia_covid.http.throttle import ByteCounter, ConcurrencyLimiter, RateLimiter
from tcia_covid.http.watchdog import ActiveRequest, Watchdog

if TYPE_CHECKING:
    import requests

    from tcia_covid.http.connection import ArchiveSession

_ERROR_TEXT = 1024
"""Bytes of an error's body that are read for the message."""
T = TypeVar("T")
Params = Mapping[str, str]


class Client:
    """Speaks HTTP with one archive, from any number of threads.

    Args:
        settings: time-outs, rates, budgets.
        stop: ends every wait but those for DNS and for the TCP handshake.
        connections: the most requests under way at once.
        meter: counts the bytes received; shared between archives.
        rate: holds them to the settings' maximum rate; shared between archives.
        emit: hears of retries and of changes of the pace.
    """

    def __init__(
        self,
        settings: HttpSettings | None = None,
        *,
        stop: CancelToken | None = None,
        connections: int = 8,
        meter: ByteCounter | None = None,
        rate: RateLimiter | None = None,
        emit: Emit = discard,
    ) -> None:
        self.settings = settings or HttpSettings()
        self.stop = stop or CancelToken()
        self.meter = meter or ByteCounter()
        self.limiter = ConcurrencyLimiter(connections, self.stop, emit)
        self._emit = emit
        self._rate = rate or RateLimiter(self.settings.max_rate, self.stop)
        self._watch = Watchdog(self.settings)
        self._local = threading.local()
        self._sessions: list[ArchiveSession] = []
        self._lock = threading.Lock()
        self.stop.on_stop(self._watch.break_all)

    @contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        form: Params | None = None,
        headers: Params | None = None,
    ) -> Iterator[Response]:
        """Send one request and give its answer while the body arrives: one attempt.

        Not to be nested in one thread (see `ConcurrencyLimiter.slot`).

        Raises:
            ArchiveError: no answer, or an HTTP status other than 2xx.
            RequestError: the URL, the proxy or the CA bundle cannot be used.
            TciaCovidError: the run is to end.
        """
        call = ActiveRequest(self.settings)
        with self.limiter.slot() as started, self._watch.over(call):
            # Only now would `break_all` find the call.
            self.stop.check()
            try:
                with closing(self._send(call, method, url, params, form, headers)) as response:
                    yield self._answer(response, call)
                self.limiter.succeeded()
            except ArchiveError as error:
                self._slow_down(error, started)
                raise

    def ask(
        self,
        url: str,
        understand: Callable[[Response], T],
        *,
        params: Params | None = None,
        form: Params | None = None,
        headers: Params | None = None,
        limit: Callable[[ArchiveError], int | None] = lambda error: None,
    ) -> T:
        """Send a request until `understand` makes sense of a whole answer.

        Args:
            url: where; a POST if `form` is given, else a GET.
            understand: reads the answer; raises a retryable `ArchiveError` where asking again
                may help.
            params: the query.
            form: the form to post.
            headers: further headers.
            limit: a smaller retry budget for some errors.
        """
        what = redact(url).rpartition("/")[2]

        def on_retry(reason: str, wait: float) -> None:
            self._emit(RequestRetried(what, reason, wait))

        patience = RetryPolicy(self.settings, self.stop, on_retry)
        method = "GET" if form is None else "POST"
        while True:
            try:
                with self.open(method, url, params=params, form=form, headers=headers) as answer:
                    return understand(answer)
            except ArchiveError as error:
                patience.failed(error, limit=limit(error))

    def tell(self, text: str) -> None:
        """Let the user know of something odd in what an archive answered."""
        self._emit(Notice(text))

    def close(self) -> None:
        """Close all connections, of threads that ended as well."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
            self._local = threading.local()
        for session in sessions:
            session.close()
        self._watch.close()

    def _send(
        self,
        call: ActiveRequest,
        method: str,
        url: str,
        params: Params | None,
        form: Params | None,
        headers: Params | None,
    ) -> requests.Response:
        # Requests takes 0.2 s to import: what asks no archive does without.
        import requests  # noqa: PLC0415

        from tcia_covid.http.errors import error_from_exception  # noqa: PLC0415

        settings = self.settings
        try:
            with call.current():
                return self._session().request(
                    method,
                    url,
                    params=params,
                    data=form,
                    headers=headers,
                    timeout=(settings.connect_timeout, settings.first_byte_timeout),
                    stream=True,
                )
        except (requests.RequestException, OSError, ValueError) as error:
            self.stop.check()
            raise error_from_exception(error, url, call) from error

    def _answer(self, response: requests.Response, call: ActiveRequest) -> Response:
        answer = Response(response, call, self.stop, self.meter, self._rate)
        if not 200 <= response.status_code < 300:  # noqa: PLR2004 - HTTP's class of success
            raise error_from_status(
                response.status_code,
                response.url,
                response.headers,
                _error_text(answer),
                self.settings,
            )
        refuse_content_encoding(response.headers, response.url)
        return answer

    def _slow_down(self, error: ArchiveError, started: float) -> None:
        if error.push_back:
            self.limiter.push_back(started, error.message, error.retry_after)
        elif error.retry_after is not None:
            self.limiter.hold(error.retry_after)

    def _session(self) -> ArchiveSession:
        session: ArchiveSession | None = getattr(self._local, "session", None)
        if session is None:
            from tcia_covid.http.connection import (  # noqa: PLC0415 - needs requests
                ArchiveSession,
                check_urllib3,
            )

            check_urllib3()
            session = ArchiveSession()
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        return session


def _error_text(answer: Response) -> bytes:
    """What an error says of itself: the status counts even where its text is cut."""
    try:
        return answer.read(_ERROR_TEXT)
    except ConnectionLostError:
        return b""
