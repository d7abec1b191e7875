"""Sending requests: one session a thread, every wait bounded, every failure one of our errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TypeVar

import requests

from tcia_covid.errors import ArchiveError, TciaCovidError
from tcia_covid.events import Emit, RequestRetried, discard
from tcia_covid.http.answer import Answer
from tcia_covid.http.call import Call, RateWatch
from tcia_covid.http.failures import from_exception, from_status, refuse_encoded
from tcia_covid.http.meter import Meter, RateLimit
from tcia_covid.http.pace import Pace
from tcia_covid.http.retry import Patience
from tcia_covid.http.session import ArchiveSession
from tcia_covid.http.settings import HttpSettings
from tcia_covid.stop import Stop

T = TypeVar("T")
Params = Mapping[str, str]


class Client:
    """Speaks HTTP with one archive, from any number of threads.

    Args:
        settings: time-outs, rates, budgets.
        stop: ends every wait.
        connections: the most requests under way at once.
        meter: counts the bytes received; shared between archives.
        emit: hears of retries and of changes of the pace.
    """

    def __init__(
        self,
        settings: HttpSettings | None = None,
        *,
        stop: Stop | None = None,
        connections: int = 8,
        meter: Meter | None = None,
        emit: Emit = discard,
    ) -> None:
        self.settings = settings or HttpSettings()
        self.stop = stop or Stop()
        self.meter = meter or Meter()
        self.pace = Pace(connections, self.stop, emit)
        self._emit = emit
        self._rate = RateLimit(self.settings.max_rate, self.stop)
        self._watch = RateWatch(self.settings)
        self._local = threading.local()
        self._sessions: list[ArchiveSession] = []
        self._lock = threading.Lock()
        self.stop.on_stop(lambda: self._watch.break_all("stopped"))

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

        Raises:
            ArchiveError: no answer, or an HTTP status of 400 or more.
            TciaCovidError: the run is to end.
        """
        call = Call()
        with self.pace.slot() as started:
            self._watch.add(call)
            try:
                with closing(self._send(call, method, url, params, form, headers)) as response:
                    answer = self._answer(response, call)
                    yield answer
                self.pace.succeeded()
            except ArchiveError as error:
                if error.push_back:
                    self.pace.push_back(started, error.message, error.retry_after)
                raise
            finally:
                self._watch.remove(call)

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
        what = url.rpartition("/")[2]

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

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()
        self._local = threading.local()

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
        call.make_current()
        try:
            return self._session().request(
                method,
                url,
                params=params,
                data=form,
                headers=headers,
                timeout=(settings.connect_timeout, settings.first_byte_timeout),
                stream=True,
            )
        except TciaCovidError:
            raise
        except (requests.RequestException, OSError, ValueError) as error:
            self.stop.check()
            raise from_exception(error, url, settings) from error

    def _answer(self, response: requests.Response, call: Call) -> Answer:
        call.set_timeout(self.settings.stall_timeout)
        answer = Answer(response, call, self.settings, self.stop, self.meter, self._rate)
        status = response.status_code
        if status >= 400 or 300 <= status < 400:  # noqa: PLR2004 - HTTP's classes of status
            body = answer.read(1024)
            raise from_status(status, response.url, response.headers, body, self.settings)
        refuse_encoded(response.headers, response.url)
        return answer

    def _session(self) -> ArchiveSession:
        session: ArchiveSession | None = getattr(self._local, "session", None)
        if session is None:
            session = ArchiveSession()
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        return session
