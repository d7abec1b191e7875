"""The two output streams: what they carry, and what happens if they break."""

from __future__ import annotations

import io
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tcia_covid.cli.console import Console, encodable, encoded, write
from tcia_covid.cli.main import run
from tcia_covid.cli.progress import progress_display
from tcia_covid.core.errors import DestinationError
from tcia_covid.core.events import RunStarted
from tcia_covid.core.models import Series
from tcia_covid.core.summary import SeriesResult
from tcia_covid.output.series_lists import formatted

Captured = pytest.CaptureFixture[str]


class ClosedPipe(io.StringIO):
    """A pipe without a reader."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


class FullDisk(io.StringIO):
    """A file on a full disk."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_closed_pipe_does_not_change_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", ClosedPipe())
    assert run(["list"]) == 0
    assert run(["list", "--json"]) == 0


@pytest.mark.parametrize("arguments", [["list", "--json"], ["--help"], ["list", "--help"]])
def test_a_result_that_cannot_be_written_ends_with_4(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", FullDisk())
    assert run(arguments) == 4
    assert "cannot write to standard output: No space left" in capsys.readouterr().err


def test_closed_streams_do_not_stop_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert run(["list"]) == 0
    assert run(["downlaod"]) == 2


def test_a_full_disk_behind_standard_error_raises_nothing() -> None:
    write(FullDisk(), "x")


def test_a_full_disk_behind_standard_output_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", FullDisk())
    with pytest.raises(DestinationError):
        write(sys.stdout, "x")


def test_characters_that_a_stream_cannot_encode_are_replaced() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert encodable(stream, "Müller…") == "M?ller?"
    stream.close()


def test_json_on_an_ascii_stream_stays_json(
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


def test_verbose_overrides_quiet() -> None:
    console = Console()
    flags = {"json": False, "verbose": True, "quiet": True, "no_progress": False}
    console.configure("list", {**flags, "log_file": None, "events": None})
    assert console.verbose
    assert not console.quiet


def test_a_pipe_gets_plain_lines(capsys: Captured) -> None:
    with progress_display(Console()) as emit:
        emit(RunStarted(series=3, images=6, size=3000, already_complete=0, output="data"))
    assert capsys.readouterr().err == "downloading 3 series (6 images, 3.0 kB) into data\n"


def test_a_document_has_one_line_for_each_of_many_series() -> None:
    results = [SeriesResult("1.2", "failed"), SeriesResult("1.3", "complete", 'a "\n é')]
    content = {"command": "plan", "none": [], "results": results, "sum": {"n": 1}, "notes": ["x"]}
    text = "".join(encoded(content, ensure_ascii=True))
    assert text.splitlines() == [
        "{",
        '  "command": "plan",',
        '  "none": [],',
        '  "results": [',
        '    {"SeriesInstanceUID": "1.2", "state": "failed", "path": null},',
        '    {"SeriesInstanceUID": "1.3", "state": "complete", "path": "a \\"\\n \\u00e9"}',
        "  ],",
        '  "sum": {',
        '    "n": 1',
        "  },",
        '  "notes": [',
        '    "x"',
        "  ]",
        "}",
    ]
    assert json.loads(text)["results"] == [result.to_dict() for result in results]


def test_the_lines_of_very_many_series_are_one_list() -> None:
    results = [SeriesResult(f"1.2.{place}", "remaining") for place in range(250)]
    nested = list(encoded({"against": {"results": results, "more": {}}}, ensure_ascii=False))
    assert len(nested) > 6, "in pieces"
    text = "".join(nested)
    assert len(text.splitlines()) == len(results) + 7
    assert json.loads(text)["against"] == {"results": [r.to_dict() for r in results], "more": {}}
    pieces = list(encoded({"results": iter(results)}, ensure_ascii=False))
    assert len(pieces) > 3
    document = json.loads("".join(pieces))
    assert document == {"results": [result.to_dict() for result in results]}
    assert json.loads("".join(encoded({"results": iter([])}, ensure_ascii=False))) == {
        "results": []
    }


def peak(monkeypatch: pytest.MonkeyPatch, show: Callable[[], None]) -> int:
    """The bytes that it takes at most to write something."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        tracemalloc.start()
        try:
            show()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def test_a_long_document_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    number = 20_000
    results = [SeriesResult(f"1.2.{place}", "remaining") for place in range(number)]
    taken = peak(monkeypatch, lambda: Console(json=True).document({"results": results}))
    assert taken < 20 * number  # the text has 100


@pytest.mark.parametrize("form", ["table", "csv", "tcia"])
def test_a_long_list_of_series_takes_little_memory(
    monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    number = 10_000
    listed = [Series(f"1.2.{place}" + "0" * 50, "C", "P", "1.2") for place in range(number)]
    taken = peak(monkeypatch, lambda: Console().result(formatted(listed, form)))
    assert taken < 20 * number  # the text has 60 and more


def test_no_lines_are_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    Console().result(iter([]))
    Console().result(["a", "b"])
    assert capsys.readouterr().out == "a\nb\n"
