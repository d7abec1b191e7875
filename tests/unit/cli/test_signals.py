"""Jobs that signals cancel."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from tcia_covid.archives import aspera as faspex
from tcia_covid.cli import signals
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    EXIT_SIGINT,
    EXIT_SIGTERM,
    DestinationError,
    InterruptedRunError,
    TciaCovidError,
)
from tcia_covid.transfer import scheduler

CANCELING = [(signal.SIGINT, EXIT_SIGINT), (signal.SIGTERM, EXIT_SIGTERM)]
if sys.platform == "win32":
    CANCELING.append((signal.SIGBREAK, EXIT_SIGTERM))


def send(number: signal.Signals) -> None:
    """Send this process a signal; from inside a job, so that the handlers are installed."""
    signal.raise_signal(number)


def test_the_result_of_a_job_is_returned() -> None:
    assert run_cancellable(lambda stop: stop.is_set()) is False


def test_an_error_of_a_job_is_raised_again() -> None:
    def fail(_: CancelToken) -> None:
        raise DestinationError("full")

    with pytest.raises(DestinationError, match="full"):
        run_cancellable(fail)


@pytest.mark.parametrize(("number", "code"), CANCELING)
def test_fault_22_a_job_that_checks_for_cancellation_ends_and_its_result_counts(
    number: signal.Signals, code: int
) -> None:
    def wait(stop: CancelToken) -> TciaCovidError | None:
        send(number)
        with pytest.raises(InterruptedRunError):
            stop.wait(30)
        return stop.reason

    reason = run_cancellable(wait)
    assert reason is not None
    assert reason.exit_code == code


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGHUP")
def test_fault_22_the_signals_of_a_closed_terminal_leave_time_to_clean_up() -> None:
    def wait(stop: CancelToken) -> str:
        send(signal.SIGHUP)
        with pytest.raises(InterruptedRunError) as ended:
            stop.wait(30)
        for _ in range(2):
            send(signal.SIGHUP)
            time.sleep(0.05)
        return f"ended with {ended.value.exit_code}"

    assert run_cancellable(wait) == "ended with 129"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGHUP")
def test_an_ignored_signal_stays_ignored() -> None:
    """As under `nohup`."""

    def ignore(stop: CancelToken) -> bool:
        send(signal.SIGHUP)
        time.sleep(0.3)
        return stop.is_set()

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_cancellable(ignore) is False
    finally:
        signal.signal(signal.SIGHUP, before)


def test_fault_22_a_job_that_hangs_is_abandoned() -> None:
    released = threading.Event()

    def hang(_: CancelToken) -> None:
        send(signal.SIGTERM)
        released.wait(30)

    with pytest.raises(InterruptedRunError) as raised:
        run_cancellable(hang, grace_period=0.1)
    assert raised.value.exit_code == EXIT_SIGTERM
    released.set()


def test_fault_22_the_grace_periods_are_less_than_two_seconds() -> None:
    assert faspex.GRACE_PERIOD < scheduler.GRACE_PERIOD < signals.GRACE_PERIOD < 2


SECOND_SIGNAL = """
import signal, time
from tcia_covid.cli.signals import run_cancellable

def hang(stop):
    signal.raise_signal(signal.SIGINT)
    while not stop.is_set():
        time.sleep(0.01)
    signal.raise_signal(signal.SIGINT)
    time.sleep(30)

run_cancellable(hang, grace_period=30)
"""


def test_fault_22_a_second_signal_ends_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", SECOND_SIGNAL], check=False, timeout=25)
    assert ended.returncode == 130


def test_a_job_that_cancels_itself_is_waited_for() -> None:
    """A full disk cancels the run too; its clean-up may take longer than the grace period."""

    def fill(stop: CancelToken) -> str:
        stop.set(DestinationError("full"))
        time.sleep(0.2)
        return "cleaned"

    assert run_cancellable(fill) == "cleaned"


def test_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run_cancellable(lambda _: None)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_job_can_be_run_from_another_thread() -> None:
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(run_cancellable(lambda _: 1)))
    thread.start()
    thread.join()
    assert results == [1]
