"""Lists that a database error shortens: requested again with the pauses of every retry."""

from __future__ import annotations

import json

import pytest

from tcia_covid.archives.nbia.archive import NbiaArchive
from tcia_covid.core.errors import NotAvailableError
from tcia_covid.core.events import Event, RequestRetried
from tests.fakes.scripted_server import ScriptedServer, ok
from tests.unit.http.helpers import client_with

EMPTY = ok(b"")


def row(number: int) -> dict[str, str]:
    return {"SeriesInstanceUID": f"1.{number}", "StudyInstanceUID": "1.9", "Collection": "C"}


def rows(*numbers: int) -> list:
    return ok(json.dumps([row(number) for number in numbers]).encode())


def test_an_empty_list_is_retried_and_reported() -> None:
    events: list[Event] = []
    with ScriptedServer(EMPTY, EMPTY, rows(1)) as server, client_with(events=events) as client:
        series = NbiaArchive(client, server.url).list_collection("C")
    assert [listed.uid for listed in series] == ["1.1"]
    retries = [event for event in events if isinstance(event, RequestRetried)]
    assert [event.request for event in retries] == ["getSeries"] * 2
    assert "empty list" in retries[0].reason


def test_a_list_that_stays_empty_is_requested_three_times() -> None:
    with ScriptedServer(EMPTY) as server, client_with(retries=6) as client:
        with pytest.raises(NotAvailableError, match="lists no series"):
            NbiaArchive(client, server.url).list_collection("C")
        assert len(server.heads) == 3


def test_no_retries_means_one_request() -> None:
    with ScriptedServer(EMPTY) as server, client_with(retries=0) as client:
        with pytest.raises(NotAvailableError):
            NbiaArchive(client, server.url).list_collection("C")
        assert len(server.heads) == 1


def test_missing_series_are_requested_again_without_the_others() -> None:
    with ScriptedServer(rows(1, 3), EMPTY, rows(2)) as server, client_with() as client:
        series = NbiaArchive(client, server.url).list_series(["1.1", "1.2", "1.3"])
        assert [listed.uid for listed in series] == ["1.1", "1.2", "1.3"]
        assert [head.body.partition(b"&")[0] for head in server.heads] == [
            b"list=1.1%2C1.2%2C1.3",
            b"list=1.2",
            b"list=1.2",
        ]


def test_unknown_series_are_requested_three_times_and_absent() -> None:
    with ScriptedServer(rows(1)) as server, client_with() as client:
        series = NbiaArchive(client, server.url).list_series(["1.1", "1.2"])
        assert [listed.uid for listed in series] == ["1.1"]
        assert len(server.heads) == 3


def test_an_empty_list_of_series_needs_no_request() -> None:
    with ScriptedServer(EMPTY) as server, client_with() as client:
        assert NbiaArchive(client, server.url).list_series([]) == []
        assert server.heads == []
