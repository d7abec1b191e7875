"""The two output streams: what they carry, and what happens where they break."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tcia_covid.cli import config_file
from tcia_covid.cli.console import Console, printable, write
from tcia_covid.cli.main import run
from tcia_covid.core.errors import DestinationError

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_file, "user_folder", lambda: tmp_path / "user")
    monkeypatch.chdir(tmp_path)


class Gone(io.StringIO):
    """A pipe whose reader has gone away."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


class Full(io.StringIO):
    """A file on a full disk."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_reader_who_went_away_changes_no_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Gone())
    assert run(["list"]) == 0
    assert run(["list", "--json"]) == 0


@pytest.mark.parametrize("arguments", [["list", "--json"], ["--help"], ["list", "--help"]])
def test_a_result_that_cannot_be_written_is_an_error_of_the_destination(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    assert run(arguments) == 4
    assert "standard output cannot be written: No space left" in capsys.readouterr().err


def test_streams_that_are_closed_are_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert run(["list"]) == 0
    assert run(["downlaod"]) == 2


def test_a_full_disk_behind_standard_error_is_no_reason_to_stop() -> None:
    write(Full(), "x")


def test_a_full_disk_behind_standard_output_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(DestinationError):
        write(sys.stdout, "x")


def test_a_stream_that_carries_few_characters_gets_these() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert printable(stream, "Müller…") == "M?ller?"
    stream.close()


def test_json_on_a_stream_that_carries_few_characters_stays_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    Console(json=True).document({"name": "Müller"})
    assert json.loads(buffer.getvalue()) == {"name": "Müller"}
    monkeypatch.undo()
    stream.close()


def test_at_most_one_document_is_written(capsys: Captured) -> None:
    console = Console(json=True)
    console.document({"a": 1})
    console.document({"b": 1})
    assert json.loads(capsys.readouterr().out) == {"a": 1}


def test_more_detail_beats_less() -> None:
    console = Console()
    given = {"json": False, "verbose": True, "quiet": True, "no_progress": False}
    console.configure("list", {**given, "log_file": None, "events": None})
    assert console.verbose
    assert not console.quiet
