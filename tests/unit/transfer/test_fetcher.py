"""When to stream a series, and when to download its images one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.core.errors import ArchiveError, ConnectionLostError, TruncatedZipError, ZipError
from tcia_covid.core.models import State
from tcia_covid.transfer.fetcher import Streaming
from tests.unit.transfer.helpers import FakeArchive, Run, listed
from tests.unit.trees import new_tree, stage

BROKEN = ZipError("a damaged entry", retryable=True)
CUT = TruncatedZipError("no end record", retryable=True)
LOST = ConnectionLostError("reset", retryable=True)


@pytest.mark.parametrize("state", [Streaming.USEFUL, Streaming.ONE_BROKEN_ZIP])
@pytest.mark.parametrize("error", [CUT, LOST])
def test_a_lost_connection_says_nothing_about_streams(
    state: Streaming, error: ArchiveError
) -> None:
    assert state.after_error(error, progress=True) is state


@pytest.mark.parametrize("error", [BROKEN, CUT, LOST])
def test_a_stream_without_new_images_is_useless(error: ArchiveError) -> None:
    assert Streaming.USEFUL.after_error(error, progress=False) is Streaming.USELESS


def test_the_second_broken_zip_ends_streaming() -> None:
    first = Streaming.USEFUL.after_error(BROKEN, progress=True)
    assert first is Streaming.ONE_BROKEN_ZIP
    assert first.after_error(CUT, progress=True) is Streaming.ONE_BROKEN_ZIP
    assert first.after_error(BROKEN, progress=True) is Streaming.USELESS


def test_a_few_missing_images_are_fetched_one_by_one(tmp_path: Path) -> None:
    tree, series, archive = new_tree(tmp_path), listed(1, images=5), FakeArchive()
    stage(tree, series, images=4)
    run = Run(tree, archive)([series])
    assert run.states == {series.uid: State.COMPLETE}
    assert archive.asked == []
    assert archive.asked_images == [f"{series.uid}.5"]
