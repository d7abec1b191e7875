"""Rows 1, 2, 8, 9, 15 and 16: connections that are cut, reset, slow or silent."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from tcia_covid.core.errors import ArchiveError, RedirectError, TlsError, UnreachableError
from tcia_covid.core.events import SeriesRetried
from tests.fakes.nbia_faults import Cut, EndEarly, Redirect, SlowStart, Stall, Trickle
from tests.fakes.synthetic import synthetic_corpus
from tests.fakes.tcp_proxy import Line, TcpProxy
from tests.faults.scenario import NAME, Scenario
from tests.faults.scenario import scenario as new_scenario
from tests.waiting import LONG, SOON

ZIP = 330_000
"""Bytes of the ZIP after which most of its images are complete."""


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_fault_01_a_cut_zip_keeps_complete_images_and_only_the_others_are_downloaded(
    scenario: Scenario, reset: bool
) -> None:
    scenario.add(Cut("getImage", at=ZIP, reset=reset, series=scenario.series.uid))
    scenario.assert_complete(scenario.download())
    # A reset takes with it what was received and not yet read: then a second stream may be due.
    assert scenario.asked("getImage") == 2 or reset
    assert 0 < scenario.asked("getSingleImage") < 6 or reset
    assert any(isinstance(event, SeriesRetried) for event in scenario.events)


def test_fault_01_a_connection_that_breaks_repeatedly_is_slow_not_broken(
    scenario: Scenario,
) -> None:
    scenario.add(Cut("getImage", at=ZIP, times=None))
    scenario.add(Cut("getSingleImage", at=4000, times=8))
    scenario.settings = replace(scenario.settings, retries=4)
    scenario.download()
    scenario.download()
    scenario.assert_heals()


def test_fault_01_images_that_were_kept_are_not_downloaded_by_the_next_run(
    scenario: Scenario,
) -> None:
    scenario.add(Cut("getImage", at=ZIP, series=scenario.series.uid, times=None))
    scenario.add(Cut("getSingleImage", at=0, times=None))
    scenario.settings = replace(scenario.settings, retries=0)
    summary = scenario.download()
    assert summary.exit_code == 1
    kept = len(list(scenario.tree.staging.rglob("*.dcm.staged")))
    assert 0 < kept < 6
    scenario.heal()
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getImage") == 0
    assert scenario.asked("getSingleImage") == 6 - kept


def test_fault_01_bytes_of_cut_transfers_count_as_received(tmp_path: Path) -> None:
    corpus = synthetic_corpus(NAME, patients=1, series_per_patient=1, images_per_series=20, rows=64)
    with new_scenario(tmp_path / "whole", corpus) as scenario:
        whole = scenario.download().bytes_received
    cut = whole // 2
    with new_scenario(tmp_path / "cut", corpus) as scenario:
        scenario.add(EndEarly("getImage", at=cut, times=1))
        assert scenario.download().bytes_received >= whole + cut


def test_fault_01_a_reset_on_the_wire_is_survived(scenario: Scenario) -> None:
    with TcpProxy(scenario.server.port) as proxy:
        proxy.script(Line(reset_after=200), Line(reset_after=9000), Line(cut_after=15_000))
        scenario.url = proxy.url(scenario.url)
        scenario.assert_complete(scenario.download(jobs=1))


def test_fault_02_a_zip_without_its_end_is_a_cut_whatever_http_says(scenario: Scenario) -> None:
    scenario.add(EndEarly("getImage", at=ZIP, series=scenario.series.uid))
    scenario.assert_complete(scenario.download())
    assert 0 < scenario.asked("getSingleImage") < 6


def test_fault_08_silence_in_the_middle_ends_at_the_stall_timeout(scenario: Scenario) -> None:
    scenario.settings = replace(scenario.settings, stall_timeout=0.4)
    scenario.add(Stall("getImage", after=ZIP, seconds=LONG, series=scenario.series.uid))
    summary = scenario.download()
    scenario.assert_complete(summary)
    assert summary.seconds < SOON


def test_fault_08_a_trickle_below_the_minimum_rate_is_dropped(scenario: Scenario) -> None:
    scenario.settings = replace(scenario.settings, min_rate=1000, stall_timeout=0.6)
    scenario.add(Trickle("getImage", size=1, seconds=0.05, series=scenario.series.uid))
    summary = scenario.download()
    scenario.assert_complete(summary)
    assert summary.seconds < SOON


def test_fault_08_a_half_open_connection_does_not_hang_the_run(scenario: Scenario) -> None:
    scenario.settings = replace(scenario.settings, first_byte_timeout=0.5)
    with TcpProxy(scenario.server.port) as proxy:
        proxy.script(Line(half_open=True))
        scenario.url = proxy.url(scenario.url)
        scenario.assert_complete(scenario.download())


def test_fault_09_a_late_first_byte_is_waited_for_beyond_the_stall_timeout(
    scenario: Scenario,
) -> None:
    scenario.settings = replace(scenario.settings, stall_timeout=0.2)
    scenario.add(SlowStart("getSeries", seconds=0.8), SlowStart("getImage", seconds=0.8))
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getSeries") == 1


def test_fault_09_a_first_byte_that_never_arrives_ends_at_its_timeout(scenario: Scenario) -> None:
    scenario.settings = replace(scenario.settings, first_byte_timeout=0.3, retries=1)
    scenario.add(SlowStart("getCollectionValues", seconds=LONG, times=None))
    with pytest.raises(ArchiveError, match="sent nothing within"):
        scenario.download()


def test_fault_15_a_name_that_does_not_resolve_is_reported_in_one_sentence(
    scenario: Scenario,
) -> None:
    scenario.url = "http://archive.invalid/nbia-api/services/v4"
    scenario.settings = replace(scenario.settings, retries=0)
    with pytest.raises(UnreachableError, match=r"archive\.invalid cannot be resolved") as caught:
        scenario.download()
    assert "DNS" in caught.value.hint
    assert caught.value.exit_code == 3


def test_fault_15_a_refused_connection_is_reported_in_one_sentence(scenario: Scenario) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    scenario.url = f"http://127.0.0.1:{port}/nbia-api/services/v4"
    scenario.settings = replace(scenario.settings, retries=1)
    with pytest.raises(UnreachableError, match="refused the connection"):
        scenario.download()


def test_fault_15_a_dead_proxy_is_reported_in_one_sentence(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("HTTP_PROXY", f"http://user:hunter2@127.0.0.1:{port}")
    monkeypatch.setenv("NO_PROXY", "")
    scenario.url = "http://archive.example/nbia-api/services/v4"
    scenario.settings = replace(scenario.settings, retries=0)
    with pytest.raises(UnreachableError, match="proxy") as caught:
        scenario.download()
    assert "HTTPS_PROXY" in caught.value.hint
    assert "hunter2" not in caught.value.message


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of the tests' own."""
    return trustme.CA()


def _context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def test_fault_15_an_unknown_authority_is_refused_and_a_known_one_trusted(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_scenario(tmp_path, tls=_context(authority, "127.0.0.1")) as secure:
        with pytest.raises(TlsError, match="cannot be trusted") as caught:
            secure.download()
        assert "REQUESTS_CA_BUNDLE" in caught.value.hint
        bundle = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(bundle))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        secure.assert_complete(secure.download())


def test_fault_15_a_certificate_of_another_host_is_refused(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with (
        new_scenario(tmp_path, tls=_context(authority, "elsewhere.example")) as wrong,
        pytest.raises(TlsError, match=r"127\.0\.0\.1"),
    ):
        wrong.download()


def test_fault_16_a_redirect_from_https_to_http_is_not_followed(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, scenario: Scenario
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    folder = tmp_path / "secure"
    folder.mkdir()
    with new_scenario(folder, tls=_context(authority, "127.0.0.1")) as secure:
        secure.add(Redirect(location=f"{scenario.url}/getCollectionValues", times=None))
        with pytest.raises(RedirectError, match="not protected by TLS"):
            secure.download()
    assert scenario.server.requests == []


def test_fault_16_no_credential_goes_to_another_host(scenario: Scenario, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    with new_scenario(folder) as other:
        elsewhere = other.url.replace("127.0.0.1", "localhost")
        scenario.add(Redirect("getCollectionValues", location=f"{elsewhere}/getCollectionValues"))
        scenario.url = scenario.url.replace("http://", "http://user:hunter2@")
        scenario.assert_complete(scenario.download())
        (asked,) = other.server.requests
        assert "authorization" not in {name.lower() for name in asked.headers}
