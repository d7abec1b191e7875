"""Skipping what fails: last in order, probed by one caller at a time, for growing pauses."""

from __future__ import annotations

from tcia_covid.http.circuit_breaker import CircuitBreaker


class Clock:
    """Monotonic seconds that a test sets forward."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def order(breaker: CircuitBreaker, candidates: str = "ab") -> str:
    return "".join(breaker.order(candidates, str.lower))


def test_an_open_circuit_comes_last_until_it_is_closed() -> None:
    breaker = CircuitBreaker(30, 600)
    assert order(breaker) == "ab"
    assert breaker.open("a")
    assert (order(breaker), breaker.is_open("a"), breaker.is_open("b")) == ("ba", True, False)
    breaker.close("a")
    assert (order(breaker), breaker.is_open("a")) == ("ab", False)


def test_opening_twice_does_not_prolong_the_pause() -> None:
    clock = Clock()
    breaker = CircuitBreaker(30, 600, clock)
    assert breaker.open("a")
    clock.now += 29
    assert not breaker.open("a")
    clock.now += 1
    assert order(breaker) == "ab"


def test_after_the_pause_one_caller_probes_and_is_still_open() -> None:
    clock = Clock()
    breaker = CircuitBreaker(30, 600, clock)
    breaker.open("a")
    clock.now += 30
    assert [order(breaker) for _ in range(3)] == ["ab", "ba", "ba"]
    assert breaker.is_open("a")


def test_each_failed_probe_doubles_the_pause_up_to_a_maximum() -> None:
    clock = Clock()
    breaker = CircuitBreaker(30, 100, clock)
    breaker.open("a")
    pauses = []
    for _ in range(4):
        started = clock.now
        while order(breaker) == "ba":
            clock.now += 10
        pauses.append(clock.now - started)
    assert pauses == [30, 60, 100, 100]


def test_candidates_with_one_key_share_a_circuit() -> None:
    clock = Clock()
    breaker = CircuitBreaker(30, 600, clock)
    breaker.open("a")
    assert order(breaker, "aAb") == "baA"
    clock.now += 30
    assert order(breaker, "aAb") == "aAb"
