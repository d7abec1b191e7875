"""What notebooks show: progress, short representations, tables."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import tcia_covid
from tcia_covid.core.errors import FailureReason
from tcia_covid.core.models import Failure
from tcia_covid.core.summary import html_table
from tcia_covid.output.notebook import is_wanted
from tests.fakes.nbia_faults import Faults
from tests.fakes.nbia_servers import NAME, small_archive
from tests.unit.factories import summary
from tests.unit.trees import grow, new_tree, series_of

HOSTILE = "<script>alert(1)</script>&\"'"


@pytest.fixture(name="choices")
def _choices(faults: Faults) -> Iterator[dict[str, Any]]:
    with small_archive(faults, series=1, images=2) as server:
        url = server.base_url
        yield {"nbia_url": url, "source": "nbia", "retries": 0, "no_fsync": True}


def test_a_download_shows_a_bar_if_requested(
    choices: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[tcia_covid.Event] = []
    tcia_covid.download(NAME, tmp_path, progress=True, emit=events.append, **choices)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "download: 100%" in shown.err
    assert "3 of 3 series" in shown.err
    assert any(isinstance(event, tcia_covid.RunFinished) for event in events)

    tcia_covid.verify(tmp_path, progress=True)
    assert "6 images" in capsys.readouterr().err


def test_without_it_nothing_is_shown(
    choices: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tcia_covid.download(NAME, tmp_path, **choices)
    tcia_covid.verify(tmp_path, progress=False)
    assert capsys.readouterr() == ("", "")


def test_every_event_is_exported_but_those_of_commands() -> None:
    events = {event.__name__ for event in get_args(tcia_covid.Event)}
    assert events - {"CommandStarted", "CommandFinished"} <= set(tcia_covid.__all__)


@pytest.mark.parametrize(("shell", "expected"), [(object(), True), (None, False)])
def test_the_default_is_on_in_ipython_only(
    monkeypatch: pytest.MonkeyPatch, shell: object, expected: bool
) -> None:
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert is_wanted(None) is expected
    assert is_wanted(False) is False
    monkeypatch.delitem(sys.modules, "IPython")
    assert is_wanted(None) is False
    assert is_wanted(True) is True


def test_representations_are_one_line(tmp_path: Path, choices: dict[str, Any]) -> None:
    new = tcia_covid.plan(NAME, tmp_path, **choices)
    done = tcia_covid.download(NAME, tmp_path, **choices)
    status = tcia_covid.status(tmp_path)
    verified = tcia_covid.verify(tmp_path)

    assert repr(new).startswith(f"<Plan: 3 series of 3 to download into {tmp_path}, ")
    assert repr(done).startswith(f"<Summary: 3 of 3 series complete in {tmp_path}, ")
    assert repr(done).endswith("; exit code 0>")
    assert repr(status).startswith(f"<Status: 3 series complete in {tmp_path}, ")
    assert repr(verified) == f"<Verify: 6 of 6 images intact in {tmp_path}; exit code 0>"
    (tmp_path / "lock").write_text("1.2.3\n")
    compared = tcia_covid.verify(tmp_path, against=tmp_path / "lock")
    assert repr(compared).endswith(", 4 series missing, changed or extra; exit code 1>")
    for result in (new, done, status, verified, compared):
        assert "\n" not in repr(result)


def test_tables_of_results_are_escaped(tmp_path: Path) -> None:
    failure = Failure("1.2.3", FailureReason.INCOMPLETE, HOSTILE)
    shown = summary(output=HOSTILE, failed=1, failures=[failure])._repr_html_()
    assert "<script>" not in shown
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#x27;") == 2
    assert "1.2.3" in shown

    grow(new_tree(tmp_path, "A & B"), series_of(1, collection=HOSTILE))
    shown = tcia_covid.status(tmp_path)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_a_plan_is_a_table_by_collection() -> None:
    shown = tcia_covid.plan(["COVID-19-AR", "ricord-1a"])._repr_html_()
    assert "<td>COVID-19-AR</td><td>105</td><td>461</td><td>31,935</td>" in shown


def test_long_tables_say_how_much_is_left_out() -> None:
    shown = html_table("many", ("n",), ([number] for number in range(1000)))
    assert shown.count("<tr>") == 22
    assert "and 980 more" in shown


def test_a_bar_can_be_drawn_where_standard_error_is_no_terminal(
    choices: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert tcia_covid.download(NAME, tmp_path, progress=True, **choices).exit_code == 0
