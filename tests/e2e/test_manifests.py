"""Whatever the program writes it reads back as a target; manifests come from the web, too."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.cli import config_file
from tcia_covid.cli.main import run
from tests.fakes.nbia import ArchiveServer
from tests.fakes.synthetic import synthetic_corpus

DATA = Path(__file__).parents[1] / "data" / "manifests"
NAME = "SMALL"
Run = Callable[..., str]


@pytest.fixture(name="output")
def _output(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Runs a command with an exit code, and gives its standard output."""
    corpus = synthetic_corpus(
        NAME, patients=2, series_per_patient=1, images_per_series=2, rows=16, columns=16
    )
    monkeypatch.setattr(config_file, "user_folder", lambda: tmp_path / "user")
    monkeypatch.chdir(tmp_path)
    with ArchiveServer(corpus, compression=1) as server:
        Path("tcia-covid.yaml").write_text(
            f"nbia-url: {server.base_url}\nsource: nbia\nretries: 0\nretry-wait: 0\noutput: data\n"
        )

        def output(*arguments: str, code: int = 0) -> str:
            capsys.readouterr()
            assert run(arguments) == code
            return capsys.readouterr().out

        yield output


def selected(output: Run, *arguments: str, code: int = 0) -> list[str]:
    """The SeriesInstanceUIDs that `series` selects."""
    document: dict[str, Any] = json.loads(output("series", *arguments, "--json", code=code))
    return sorted(series["SeriesInstanceUID"] for series in document["series"])


@pytest.mark.parametrize("style", ["csv", "tsv", "json", "tcia", "s5cmd", "urls", "txt"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_every_format_of_series_is_a_target(output: Run, style: str, encoding: str) -> None:
    choice = ("MIDRC-RICORD-1B", "--max-series", "3")
    written = Path("written")  # without a suffix: the content shows the format
    written.write_text(output("series", *choice, "--format", style), encoding=encoding)
    assert selected(output, "written") == selected(output, *choice)


def test_the_documents_of_commands_are_targets(output: Run) -> None:
    both = selected(output, NAME)
    for command in (["series", NAME], ["plan", NAME], ["download", NAME]):
        Path("document.json").write_text(output(*command, "--json"))
        assert selected(output, "document.json") == both
    assert selected(output, f"data/{NAME}/metadata.csv") == both
    Path("document.json").write_text(output("plan", "document.json", "--json"))
    assert selected(output, "document.json") == both


def test_documents_of_checks_select_what_needs_work(output: Run) -> None:
    output("download", NAME)
    Path("status.json").write_text(output("status", "--json"))
    output("plan", "status.json", code=2)
    damaged = min(Path("data", NAME).rglob("*.dcm"))
    damaged.write_bytes(b"x")
    uid = damaged.parent.name
    Path("verify.json").write_text(output("verify", "--json", code=1))
    Path("status.json").write_text(output("status", "--json"))
    assert selected(output, "verify.json") == selected(output, "status.json") == [uid]


def test_a_line_that_no_archive_knows_is_a_named_failure(output: Run) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    text = (DATA / "idc-portal.s5cmd").read_text() + f"cp s3://idc-open-data/{unknown}/* .\n"
    Path("a.s5cmd").write_text(text)
    document = json.loads(output("series", "a.s5cmd", "--json", code=1))
    assert len(document["series"]) == 4
    (failure,) = document["failures"]
    assert failure["detail"].startswith("a.s5cmd, line 8: ")
    assert unknown in failure["detail"]


def test_series_without_an_address_in_idc_are_named(output: Run) -> None:
    written = output("series", NAME, "--format", "s5cmd", code=1)
    assert "cp " not in written


class _Files(http.server.BaseHTTPRequestHandler):
    """Serves the sample manifests."""

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if name == "moved":
            self.send_response(302)
            self.send_header("Location", "/spreadsheet.xlsx?token=secret")
            self.end_headers()
        elif name.partition("?")[0] == "login":
            self._send(200, b"<html><form>Log in <input type=password></form></html>")
        else:
            path = DATA / name.partition("?")[0]
            self._send(200 if path.is_file() else 404, path.read_bytes() if path.is_file() else b"")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(name="site")
def _site() -> Iterator[str]:
    """The address of a web server on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", ["no-list-line.tcia", "moved", "idc-portal.s5cmd"])
def test_the_address_of_a_manifest_is_a_target(output: Run, site: str, name: str) -> None:
    # TCIA's site is on loopback here, which allows http there.
    assert len(selected(output, f"{site}/{name}", "--site-url", site)) == 4


def test_addresses_that_are_refused(
    output: Run, site: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(address: str, *options: str) -> str:
        assert run(["series", address, *options]) == 2
        return capsys.readouterr().err

    del output  # its settings count
    assert "is not an https address" in refused(f"{site}/getSeries.json")
    assert "is not an https address" in refused("http://example.org/a.tcia", "--site-url", site)
    shown = refused(f"{site}/absent.tcia?token=secret", "--site-url", site)
    assert "the server does not provide" in shown
    assert "secret" not in shown
    assert "is a login page, not a manifest" in refused(f"{site}/login", "--site-url", site)
