"""One limit for all workers: halved on push-back, raised later; Retry-After; the maximum rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import PausedError, StatusError
from tcia_covid.core.events import ConcurrencyChanged, Event
from tcia_covid.http.throttle import ConcurrencyLimiter, RateLimiter
from tests.fakes.scripted_server import (
    Head,
    ScriptedServer,
    Sleep,
    Step,
    in_chunks,
    ok,
    status,
)
from tests.unit.http.helpers import client_with, fetch, get, in_threads, stop_while
from tests.waiting import LONG, SOON, soon, wait_for


def limits(events: list[Event]) -> list[int]:
    return [event.limit for event in events if isinstance(event, ConcurrencyChanged)]


def test_at_most_the_ceiling_of_requests_is_active() -> None:
    most, lock = 0, threading.Lock()
    with (
        ScriptedServer(answer=lambda request: [Sleep(0.02), *ok()]) as server,
        client_with(jobs=3) as client,
    ):

        def work() -> None:
            nonlocal most
            for _ in range(3):
                with client.stream("GET", server.url) as response:
                    with lock:
                        most = max(most, server.active)
                    response.read()

        in_threads(8, work)
    assert most <= 3


def test_eight_push_backs_at_once_halve_the_concurrency_once() -> None:
    events: list[Event] = []
    gate = threading.Barrier(8)

    def respond(request: Head):
        gate.wait(5)
        return status(503)

    with ScriptedServer(answer=respond) as server, client_with(events=events) as client:

        def work() -> None:
            with pytest.raises(StatusError):
                get(client, server.url)

        in_threads(8, work)
        assert client.limiter(server.url).limit == 4
    assert limits(events) == [4]


def test_the_limit_recovers_step_by_step_up_to_the_ceiling() -> None:
    events: list[Event] = []
    scripts = [*[status(503)] * 3, [Sleep(0.005), *ok()]]
    with ScriptedServer(*scripts) as server, client_with(events=events) as client:
        fetch(client, server.url)
        assert limits(events) == [4, 2, 1, 2]
        in_threads(9, lambda: [get(client, server.url) for _ in range(12)])
        assert client.limiter(server.url).limit == 8
    assert limits(events)[3:] == [2, 3, 4, 5, 6, 7, 8]


def test_unused_slots_do_not_raise_the_limit() -> None:
    limiter = ConcurrencyLimiter(8, CancelToken())
    with limiter.slot() as busy:
        limiter.push_back(busy.started, "busy")
    for _ in range(100):
        with limiter.slot() as slot:
            limiter.succeeded(slot)
    assert limiter.limit == 4


@pytest.mark.parametrize("code", [408, 500])
def test_faults_unrelated_to_load_do_not_change_the_concurrency(code: int) -> None:
    with ScriptedServer(status(code), ok()) as server, client_with() as client:
        fetch(client, server.url)
        assert client.limiter(server.url).limit == 8


def test_time_outs_push_back() -> None:
    with (
        ScriptedServer([Sleep(LONG)], ok()) as server,
        client_with(first_byte_timeout=0.1) as client,
    ):
        fetch(client, server.url)
        assert client.limiter(server.url).limit < 8


def test_a_server_that_accepts_three_requests_at_once_serves_all_of_them() -> None:
    events: list[Event] = []
    done: list[bytes] = []

    def respond(request: Head):
        return status(503) if server.active > 3 else [Sleep(0.01), *ok()]

    server = ScriptedServer(answer=respond)
    with server, client_with(events=events, retries=10) as client:
        in_threads(8, lambda: done.extend(fetch(client, server.url) for _ in range(8)))
    assert done == [b"fine"] * 64
    reported = sorted(limits(events))
    assert reported[len(reported) // 2] <= 4
    # Few requests fail in comparison with the work.
    assert len(server.heads) < 64 + 40


def test_retry_after_pauses_all_workers() -> None:
    asked: list[float] = []

    def respond(request: Head):
        asked.append(time.monotonic())
        return status(429, Retry_After="1") if len(asked) == 1 else ok()

    with ScriptedServer(answer=respond) as server, client_with() as client:
        first = threading.Thread(target=lambda: fetch(client, server.url))
        first.start()
        wait_for(lambda: client.limiter(server.url).limit < 8)
        in_threads(4, lambda: get(client, server.url))
        first.join()
    assert len(asked) == 6
    assert min(asked[1:]) - asked[0] >= 0.99


def test_retry_after_of_a_plain_500_pauses_all_workers_without_halving_the_limit() -> None:
    stop = CancelToken()
    script = status(500, Retry_After="100")
    with ScriptedServer(script, ok()) as server, client_with(stop=stop) as client:
        with pytest.raises(StatusError):
            get(client, server.url)
        assert client.limiter(server.url).limit == 8
        stop_while(lambda: get(client, server.url), stop)
        assert len(server.heads) == 1


def test_every_thread_wakes_when_a_pause_ends() -> None:
    """All who wait for a slot start together once the pause is over."""
    limiter = ConcurrencyLimiter(8, CancelToken())
    together: list[bool] = []
    inside: list[float] = []
    everybody_in = threading.Event()

    def work() -> None:
        with limiter.slot() as slot:
            inside.append(slot.started)
            if len(inside) == 8:
                everybody_in.set()
            together.append(everybody_in.wait(SOON))

    with ExitStack() as first:
        for _ in range(8):
            first.enter_context(limiter.slot())
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        limiter.pause(0.2)
    for thread in threads:
        thread.join()
    assert together == [True] * 8


class CountingStop(CancelToken):
    """Counts the checks of threads that wait for a slot."""

    checks = 0

    def check(self) -> None:
        self.checks += 1
        super().check()


def test_a_freed_slot_wakes_one_waiting_thread() -> None:
    stop = CountingStop()
    limiter = ConcurrencyLimiter(1, stop)

    def work() -> None:
        with limiter.slot():
            pass

    with limiter.slot():
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: stop.checks == 1 + 8)
    for thread in threads:
        thread.join()
    assert stop.checks == 1 + 8 + 8


def test_a_lower_limit_waits_until_enough_requests_have_ended() -> None:
    limiter = ConcurrencyLimiter(4, CancelToken())
    acquired = threading.Event()

    def work() -> None:
        with limiter.slot():
            acquired.set()

    with ExitStack() as stack:
        slots = [stack.enter_context(ExitStack()) for _ in range(4)]
        held = [slot.enter_context(limiter.slot()) for slot in slots]
        limiter.push_back(held[0].started, "busy")
        assert limiter.limit == 2
        thread = threading.Thread(target=work)
        thread.start()
        for slot in slots[:2]:
            slot.close()
            assert not acquired.wait(0.05)
        slots[2].close()
        assert acquired.wait(SOON)
        thread.join()


def test_a_request_ends_with_the_last_byte_of_its_response() -> None:
    following: list[bytes] = []
    for first in (ok(), in_chunks(b"fine")):
        with ScriptedServer(first, ok(b"next")) as server, client_with(jobs=1) as client:
            with client.stream("GET", f"{server.url}/a") as response:
                assert response.read() == b"fine"
                in_threads(1, lambda: following.append(get(client, f"{server.url}/b")))
                assert response.read() == b""
            assert server.connections == 1
    assert following == [b"next", b"next"]


def test_a_slot_is_returned_once() -> None:
    limiter, acquired = ConcurrencyLimiter(1, CancelToken()), threading.Event()

    def work() -> None:
        with limiter.slot():
            acquired.set()

    with limiter.slot() as slot:
        limiter.succeeded(slot)
        limiter.succeeded(slot)
        limiter.release(slot)
    with limiter.slot():
        thread = threading.Thread(target=work)
        thread.start()
        assert not acquired.wait(0.05)
    thread.join()
    assert acquired.is_set()


def test_the_limit_never_falls_below_one() -> None:
    limiter = ConcurrencyLimiter(2, CancelToken())
    for _ in range(5):
        with limiter.slot() as slot:
            limiter.push_back(slot.started, "busy")
    assert limiter.limit == 1


def test_a_push_back_on_an_old_request_counts_no_second_time() -> None:
    limiter = ConcurrencyLimiter(8, CancelToken())
    with limiter.slot() as first, limiter.slot() as second:
        limiter.push_back(first.started, "busy")
        limiter.push_back(second.started, "busy")
        assert limiter.limit == 4
    with limiter.slot() as third:
        limiter.push_back(third.started, "busy")
    assert limiter.limit == 2


def test_a_maximum_rate_is_kept_within_a_tenth_over_a_second() -> None:
    now = 0.0

    class Instantly(CancelToken):
        def wait(self, seconds: float) -> None:
            nonlocal now
            now += seconds

    limit = RateLimiter(1_000_000, Instantly(), lambda: now)
    for _ in range(100):
        limit.take(5_000)
        limit.take(15_000)
    assert 1.9 < now < 2.1


def test_a_maximum_rate_applies_to_a_connection() -> None:
    body = bytes(500_000)
    server, client = ScriptedServer(ok(body)), client_with(max_rate=1_000_000)
    with server, client as asking, soon(at_least=0.45):
        get(asking, server.url)


@pytest.mark.parametrize("answered", [ok, in_chunks], ids=["length", "chunks"])
def test_under_a_maximum_rate_no_connection_takes_much_at_once(
    answered: Callable[[bytes], list[Step]],
) -> None:
    """The others would wait for it, and a server drops a line that is not read for long."""
    body = bytes(600_000)
    with (
        ScriptedServer(answered(body)) as server,
        client_with(max_rate=1e9) as client,
        client.stream("GET", server.url) as response,
    ):
        pieces = [len(piece) for piece in response.chunks()]
    assert sum(pieces) == len(body)
    assert max(pieces) <= 64 * 1024


def test_under_a_low_maximum_rate_pieces_take_a_quarter_of_a_second() -> None:
    """Otherwise a run would have received far more than the rate says, and shown nothing of it."""
    body = bytes(20_000)
    with (
        ScriptedServer(ok(body)) as server,
        client_with(max_rate=20_000) as client,
        client.stream("GET", server.url) as response,
    ):
        assert len(next(response.chunks())) <= 5_000
    assert RateLimiter(10, CancelToken()).max_piece == 1024


def test_a_maximum_rate_is_for_all_connections_together() -> None:
    body = bytes(100_000)
    server, client = ScriptedServer(ok(body)), client_with(max_rate=1_000_000)
    with server, client as asking, soon(at_least=0.36):
        in_threads(4, lambda: get(asking, server.url))


def test_time_without_traffic_is_not_saved_up_under_a_maximum_rate() -> None:
    limit = RateLimiter(1_000_000, CancelToken())
    time.sleep(0.1)
    started = time.monotonic()
    for _ in range(10):
        limit.take(15_000)
    assert time.monotonic() - started > 0.13


def test_fault_38_a_pause_that_one_host_demands_delays_only_that_host() -> None:
    with (
        ScriptedServer(status(503, Retry_After="500")) as paused,
        ScriptedServer(ok()) as other,
        client_with() as client,
    ):
        with pytest.raises(StatusError):
            get(client, paused.url)
        with soon():
            assert get(client, other.url) == b"fine"
        assert client.limiter(other.url).limit == client.connections


def test_fault_38_a_request_fails_at_once_rather_than_wait_out_a_long_pause() -> None:
    with (
        ScriptedServer(status(503, Retry_After="500")) as server,
        client_with(max_pause=5) as client,
    ):
        with pytest.raises(StatusError):
            get(client, server.url)
        with soon(), pytest.raises(PausedError, match="asked for a pause of 500 more") as paused:
            get(client, server.url)
        assert paused.value.retryable
        assert len(server.heads) == 1


def test_a_short_pause_is_waited_out() -> None:
    with (
        ScriptedServer(status(503, Retry_After="1"), ok()) as server,
        client_with(max_pause=5) as client,
    ):
        assert fetch(client, server.url) == b"fine"
