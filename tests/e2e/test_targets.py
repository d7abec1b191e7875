"""What people have in hand as targets, with the real command; most of it needs no network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tcia_covid.catalog import series_catalog
from tests.e2e.command import document, run
from tests.fakes.corpus import DemoSeries
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_servers import NAME
from tests.fakes.scripted_server import closed_port

SERIES = series_catalog.load("MIDRC-RICORD-1B")[0]
Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(name="offline")
def _offline(tmp_path: Path) -> Command:
    """Runs a command whose archives refuse connections."""
    nowhere = f"http://127.0.0.1:{closed_port()}/v4"
    variables = {"TCIA_COVID_NBIA_URL": nowhere, "TCIA_COVID_IDC_URL": nowhere}
    return lambda *words: run(*words, home=tmp_path, TCIA_COVID_RETRY_WAIT="0.01", **variables)


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ([SERIES.uid], f"{SERIES.uid}: SeriesInstanceUID of MIDRC-RICORD-1B, 1 series"),
        ([SERIES.study], f"{SERIES.study}: StudyInstanceUID of MIDRC-RICORD-1B, 1 series"),
        ([SERIES.patient], f"{SERIES.patient}: PatientID of MIDRC-RICORD-1B, 1 series"),
        ([f"s3://x/{SERIES.crdc_uuid}/*"], "crdc_series_uuid of MIDRC-RICORD-1B, 1 series"),
        (["--study", SERIES.study], f"{SERIES.study}: StudyInstanceUID of MIDRC-RICORD-1B"),
        (["--series", SERIES.uid], f"{SERIES.uid}: SeriesInstanceUID of MIDRC-RICORD-1B"),
        (["--patient", SERIES.patient.lower()], "PatientID of MIDRC-RICORD-1B, 1 series"),
    ],
)
def test_the_catalog_decides_without_a_network(
    offline: Command, words: list[str], note: str
) -> None:
    planned = offline("plan", *words)
    assert planned.returncode == 0
    assert note in planned.stdout
    (resolved,) = document(offline("series", *words, "--json"))["resolved"]
    assert (resolved["collections"], resolved["series"]) == (["MIDRC-RICORD-1B"], 1)


def test_commas_separate_targets(offline: Command) -> None:
    planned = document(offline("plan", f"covid19ar,{SERIES.study}", "--json"))
    assert planned["targets"] == ["covid19ar", SERIES.study]
    assert [target["series"] for target in planned["resolved"]] == [461, 1]


@pytest.mark.parametrize(
    ("words", "problem", "advice"),
    [
        (["covid19arr"], "there is no collection, series", "did you mean 'COVID-19-AR'?"),
        (["folder"], "folder is a folder", "did you mean -o folder?"),
        (["https://x.org/?saved-cart=mine"], "shared cart", "did you mean --shared-cart 'mine'?"),
        ([], "no target given", "a manifest, a series, a study or a patient"),
        (["1.2.840." + "1" * 64], "it has 72 characters", "copy the whole UID"),
    ],
)
def test_a_mistake_is_answered_at_once(
    offline: Command, tmp_path: Path, words: list[str], problem: str, advice: str
) -> None:
    (tmp_path / "folder").mkdir()
    refused = offline("plan", *words)
    assert refused.returncode == 2
    assert problem in refused.stderr
    assert advice in refused.stderr
    assert "retry" not in refused.stderr


@pytest.mark.parametrize("word", ["1.2.3", "SOMEBODY"])
def test_without_a_network_an_unknown_word_fails_after_one_retry(
    offline: Command, word: str
) -> None:
    failed = offline("download", word, "--retries", "9")
    assert failed.returncode == 3
    assert failed.stderr.count("retry in") <= 1
    assert (
        f"'{word}' is neither a file nor in the catalog of 5 collections, and NBIA" in failed.stderr
    )


@pytest.fixture(name="first")
def _first(archive: ArchiveServer) -> DemoSeries:
    return min(archive.corpus, key=lambda series: series.uid)


@pytest.mark.parametrize(
    "kind", ["SeriesInstanceUID", "StudyInstanceUID", "PatientID", "collection"]
)
def test_what_only_the_archive_knows_is_downloaded(
    archive: ArchiveServer, first: DemoSeries, tmp_path: Path, kind: str
) -> None:
    word = {
        "SeriesInstanceUID": first.uid,
        "StudyInstanceUID": first.study.uid,
        "PatientID": first.patient.id,
        "collection": NAME.lower(),
    }[kind]
    ran = run(
        *("download", word, "--source", "nbia", "--nbia-url", archive.base_url, "--json"),
        home=tmp_path,
    )
    summary = json.loads(ran.stdout)
    assert ran.returncode == 0
    assert [(item["kind"], item["collections"]) for item in summary["resolved"]] == [(kind, [NAME])]
    assert summary["series"]["complete"] == summary["resolved"][0]["series"] > 0


def test_an_image_does_not_stop_the_rest(
    archive: ArchiveServer, first: DemoSeries, tmp_path: Path
) -> None:
    ran = run(
        *("download", f"{first.uid},{first.images[0].uid}", "--source", "nbia"),
        *("--nbia-url", archive.base_url),
        home=tmp_path,
    )
    assert ran.returncode == 1
    assert "1 of 1 series complete" in ran.stdout
    assert "is the SOPInstanceUID of one image, and NBIA does not report its series" in (
        ran.stdout + ran.stderr
    )
