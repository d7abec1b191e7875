"""Repeated, canceled and simultaneous runs; events and the JSON document."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    InterruptedRunError,
)
from tcia_covid.core.events import Event, ImagesChecked, SeriesFinished
from tcia_covid.operations.adopt_scan import Reason
from tcia_covid.output.json_documents import adopt_document
from tcia_covid.store.locks import Lock
from tcia_covid.store.tree import Tree
from tests.fakes.corpus import Corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.other_downloaders import tcia_utils
from tests.unit.operations.adopt.helpers import (
    NAME,
    adopt,
    any_file,
    file_with,
    flip_last_bit,
    one_series,
    without_last_image,
)


def test_files_of_a_complete_series_are_compared_with_it(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    series = one_series(corpus)
    corpus.put(without_last_image(series))
    tcia_utils(source, [without_last_image(series)])
    adopt(server, source, data)
    before = len(server.requests)
    tcia_utils(source, [series])
    extra = file_with(source, series.images[-1].read())
    flipped, duplicate = [path for path in sorted(source.rglob("*.dcm")) if path != extra][:2]
    content = flipped.read_bytes()
    flipped.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    shutil.copyfile(duplicate, source / "copy")
    result = adopt(server, source, data)
    assert {(file.file, file.reason) for file in result.damaged} == {
        (flipped.relative_to(source).as_posix(), Reason.CHANGED),
        (extra.relative_to(source).as_posix(), Reason.NOT_IN_SERIES),
    }
    assert (result.images.already_complete, result.images.duplicate, result.exit_code) == (2, 1, 1)
    assert {request.endpoint for request in server.requests[before:]} == {"getSeriesMetadata"}


def test_no_archive_is_asked_about_complete_series(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    adopt(server, source, data)
    before = len(server.requests)
    result = adopt(server, source, data)
    assert (result.exit_code, result.series.already_complete) == (0, 4)
    assert (result.images.already_complete, result.images.adopted) == (16, 0)
    assert {request.endpoint for request in server.requests[before:]} == {"getSeriesMetadata"}


def test_progress_and_events_are_emitted(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    events: list[Event] = []
    adopt(server, source, data, emit=events.append)
    read = [event for event in events if isinstance(event, ImagesChecked)]
    assert sum(event.images for event in read) == 16
    assert sum(event.size for event in read) == sum(series.size for series in corpus)
    assert sum(isinstance(event, SeriesFinished) for event in events) == 4


def test_a_canceled_run_is_continued_by_the_next(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    stop = CancelToken()

    def interrupt(event: Event) -> None:
        if isinstance(event, SeriesFinished):
            stop.set()

    with pytest.raises(InterruptedRunError):
        adopt(server, source, data, jobs=1, stop=stop, emit=interrupt)
    assert adopt(server, source, data).exit_code == 0


def test_the_json_document(server: ArchiveServer, corpus: Corpus, source: Path, data: Path) -> None:
    tcia_utils(source, corpus)
    flip_last_bit(any_file(source))
    output = json.loads(json.dumps(adopt_document(adopt(server, source, data))))
    assert output["command"] == "adopt"
    assert output["exit_code"] == 1
    assert output["series"]["adopted"] == 3
    assert output["damaged"][0]["reason"] == "changed"
    assert output["incomplete"][0]["staged"] == 3


def test_a_series_of_another_run_is_skipped_as_locked(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    tree = Tree(data / NAME)
    tree.prepare()
    locked = one_series(corpus).uid
    with Lock(tree.state / "locks" / f"{locked}.lock", "the series"):
        result = adopt(server, source, data)
    assert [(series.series, series.reason) for series in result.incomplete] == [
        (locked, Reason.LOCKED)
    ]
    assert (result.exit_code, result.series.adopted, result.series.skipped) == (1, 3, 1)
