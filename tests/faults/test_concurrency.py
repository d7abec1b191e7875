"""Row 10, in a complete download: the number of requests at once settles, and recovers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.events import ConcurrencyChanged, RateLimited, SeriesStarted
from tcia_covid.transfer.series_limit import FIRST_SERIES
from tests.fakes.nbia_faults import TEXT_500, Fault, SlowStart, pieces_of
from tests.fakes.nbia_replies import Call, Reply
from tests.fakes.synthetic import synthetic_corpus
from tests.faults.scenario import NAME, Scenario
from tests.faults.scenario import scenario as new_scenario
from tests.waiting import LONG

JOBS = 8
BEARABLE = 3
SERIES = 200
RELIEF = 50
SLOW_SECONDS = 3.0
"""Of a download that is then canceled: enough for the first bytes of each series."""


@dataclass(kw_only=True)
class Crowded(Fault):
    """503 beyond `bearable` requests at once, until `relief` were served."""

    bearable: int
    relief: int
    served: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)
    most: int = field(default=0, init=False)
    """Requests that were under way at once, those refused included, after the first round."""
    _active: int = field(default=0, init=False)

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        with self.lock:
            self._active += 1
            if self.served >= JOBS:
                self.most = max(self.most, self._active if self.served < self.relief else 0)
            crowded = self._active > self.bearable and self.served < self.relief
            self.refused += crowded
        reply = Reply(TEXT_500, 503) if crowded else proceed()
        return replace(reply, body=self._counted(reply, served=not crowded))

    def _counted(self, reply: Reply, *, served: bool) -> Iterator[bytes]:
        try:
            yield from pieces_of(reply)
        finally:
            with self.lock:
                self._active -= 1
                self.served += served


def _limits(scenario: Scenario) -> list[int]:
    return [event.limit for event in scenario.events if isinstance(event, ConcurrencyChanged)]


def test_the_limit_settles_below_what_the_server_accepts_and_recovers(tmp_path: Path) -> None:
    corpus = synthetic_corpus(NAME, patients=SERIES, series_per_patient=1, images_per_series=1)
    crowded = Crowded("getImage", bearable=BEARABLE, relief=RELIEF, times=None)
    with new_scenario(tmp_path, corpus) as scenario:
        scenario.settings = replace(scenario.settings, retries=20)
        scenario.add(crowded, SlowStart("getImage", seconds=0.03, times=None))
        scenario.assert_complete(scenario.download(jobs=JOBS))
    limits = _limits(scenario)
    # Down: halved from 8 until the server accepts it.
    assert limits[0] == JOBS // 2
    assert min(limits) <= BEARABLE
    # Settled: it feels for one more now and then, and takes a refusal for an answer.
    assert crowded.most <= BEARABLE + 2
    assert crowded.refused < RELIEF
    # Recovered: one more at a time, to the ceiling and not beyond.
    assert limits[-1] == JOBS
    assert limits[-(JOBS - BEARABLE) :] == list(range(BEARABLE + 1, JOBS + 1))


@pytest.mark.parametrize(("max_rate", "begun"), [(30_000.0, FIRST_SERIES), (None, 7)])
def test_on_a_slow_line_only_a_few_series_begin(
    tmp_path: Path, max_rate: float | None, begun: int
) -> None:
    corpus = synthetic_corpus(
        NAME, patients=7, series_per_patient=1, images_per_series=22, rows=256, columns=256
    )
    stop = CancelToken()
    timer = threading.Timer(SLOW_SECONDS if max_rate else LONG, stop.set)
    with new_scenario(tmp_path, corpus) as scenario:
        scenario.settings = replace(scenario.settings, max_rate=max_rate)
        timer.start()
        scenario.download(jobs=5, stop=stop)
        timer.cancel()
    assert sum(isinstance(event, SeriesStarted) for event in scenario.events) == begun
    assert any(isinstance(event, RateLimited) for event in scenario.events) == bool(max_rate)
