"""Sending requests: one session a thread, every wait bounded, every failure one of our errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TypeVar

import requests

from tcia_covid.errors import ArchiveError, ConnectionLostError
from tcia_covid.events import Emit, Notice, RequestRetried, discard
from tcia_covid.http.answer import Answer
from tcia_covid.http.call import Call
from tcia_covid.http.failures import from_exception
from tcia_covid.http.meter import Meter, RateLimit
from tcia_covid.http.pace import Pace
from tcia_covid.http.retry import Patience
from tcia_covid.http.session import ArchiveSession
from tcia_covid.http.statuses import from_status, refuse_encoded
from tcia_covid.http.watch import Watch
from tcia_covid.redact import redact
from tcia_covid.settings import HttpSettings
from tcia_covid.stop import Stop

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
        stop: Stop | None = None,
        connections: int = 8,
        meter: Meter | None = None,
        rate: RateLimit | None = None,
        emit: Emit = discard,
    ) -> None:
        self.settings = settings or HttpSettings()
        self.stop = stop or Stop()
        self.meter = meter or Meter()
        self.pace = Pace(connections, self.stop, emit)
        self._emit = emit
        self._rate = rate or RateLimit(self.settings.max_rate, self.stop)
        self._watch = Watch(self.settings)
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
    ) -> Iterator[Answer]:
        """Send one request and give its answer while the body arrives: one attempt.

        Not to be nested in one thread (see `Pace.slot`).

        Raises:
            ArchiveError: no answer, or an HTTP status other than 2xx.
            RequestError: the URL, the proxy or the CA bundle cannot be used.
            TciaCovidError: the run is to end.
        """
        call = Call(self.settings)
        with self.pace.slot() as started, self._watch.over(call):
            # Only now would `break_all` find the call.
            self.stop.check()
            try:
                with closing(self._send(call, method, url, params, form, headers)) as response:
                    yield self._answer(response, call)
                self.pace.succeeded()
            except ArchiveError as error:
                self._slow_down(error, started)
                raise

    def ask(
        self,
        url: str,
        understand: Callable[[Answer], T],
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

        patience = Patience(self.settings, self.stop, on_retry)
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
        call: Call,
        method: str,
        url: str,
        params: Params | None,
        form: Params | None,
        headers: Params | None,
    ) -> requests.Response:
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
            raise from_exception(error, url, call) from error

    def _answer(self, response: requests.Response, call: Call) -> Answer:
        answer = Answer(response, call, self.stop, self.meter, self._rate)
        if not 200 <= response.status_code < 300:  # noqa: PLR2004 - HTTP's class of success
            raise from_status(
                response.status_code,
                response.url,
                response.headers,
                _error_text(answer),
                self.settings,
            )
        refuse_encoded(response.headers, response.url)
        return answer

    def _slow_down(self, error: ArchiveError, started: float) -> None:
        if error.push_back:
            self.pace.push_back(started, error.message, error.retry_after)
        elif error.retry_after is not None:
            self.pace.hold(error.retry_after)

    def _session(self) -> ArchiveSession:
        session: ArchiveSession | None = getattr(self._local, "session", None)
        if session is None:
            session = ArchiveSession()
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        return session


def _error_text(answer: Answer) -> bytes:
    """What an error says of itself: the status counts even where its text is cut."""
    try:
        return answer.read(_ERROR_TEXT)
    except ConnectionLostError:
        return b""
