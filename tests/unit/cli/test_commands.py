"""The commands that need no archive: what they show."""

from __future__ import annotations

import csv
import io
import json
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.main import run
from tcia_covid.core.units import format_size
from tcia_covid.selection.manifests.read import read_manifest
from tests.fakes.corpus import Corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.scripted_server import closed_port
from tests.fakes.synthetic import synthetic_corpus

Captured = pytest.CaptureFixture[str]
SMALL = ("MIDRC-RICORD-1B", "--first-patients", "2")


def shown_by(capsys: Captured, *arguments: str, code: int = 0) -> str:
    assert run(arguments) == code
    return capsys.readouterr().out


def read(capsys: Captured, *arguments: str, code: int = 0) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(shown_by(capsys, *arguments, "--json", code=code))
    assert document["exit_code"] == code
    assert document["command"] == arguments[0]
    return document


def test_list_shows_every_collection(capsys: Captured) -> None:
    lines = shown_by(capsys, "list", "--quiet").splitlines()
    assert len(lines) == 1 + len(load_registry())
    volumes = next(line for line in lines if line.startswith("CT Images in COVID-19"))
    assert "  771 volumes  " in volumes
    assert "NIfTI" in volumes
    assert {collection["name"] for collection in read(capsys, "list")["collections"]} == {
        collection.name for collection in load_registry()
    }


@pytest.mark.parametrize("command", [("list",), ("info", "ar")])
def test_further_resources_are_shown(capsys: Captured, command: tuple[str, ...]) -> None:
    shown = shown_by(capsys, *command)
    document = read(capsys, *command)
    pages = document.get("collection", document)["resources"]
    assert len(pages) == 4
    for words in ("American College of Radiology", "Radiological Society", "LitCovid", "(N3C)"):
        assert words in " ".join(shown.split())
        assert any(words in page["title"] and page["url"] in shown for page in pages)


def test_list_all_adds_the_other_collections_of_the_archive(capsys: Captured) -> None:
    names = ("LIDC-IDRI", "COVID-19-AR", "CMB-LCA")
    corpora = (synthetic_corpus(name, seed=seed) for seed, name in enumerate(names))
    with ArchiveServer(Corpus((), chain.from_iterable(corpora))) as archive:
        options = ("--all", "--nbia-url", archive.base_url, "--retries", "0")
        assert read(capsys, "list", *options)["other_collections"] == ["CMB-LCA", "LIDC-IDRI"]
        shown = shown_by(capsys, "list", *options)
    assert "2 other public collections in NBIA, by the exact names:\nCMB-LCA\nLIDC-IDRI\n" in shown
    assert "other_collections" not in read(capsys, "list")


def test_list_all_without_an_archive_has_its_exit_code(capsys: Captured) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    assert run(["list", "--all", "--nbia-url", url, "--retries", "0"]) == 3
    assert "refused the connection" in capsys.readouterr().err


def test_list_refuses_options_of_a_connection_that_it_does_not_make(capsys: Captured) -> None:
    assert run(["list", "--nbia-url", "http://127.0.0.1:9"]) == 2
    assert "--nbia-url has no effect without --all" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["covid-19-ar", "10.7937/TCIA.2020.PY71-5978", "ar"])
def test_info_accepts_every_name_of_a_collection(capsys: Captured, name: str) -> None:
    assert read(capsys, "info", name)["collection"]["name"] == "COVID-19-AR"


@pytest.mark.parametrize("name", [collection.name for collection in load_registry()])
def test_info_shows_what_a_user_must_know(capsys: Captured, name: str) -> None:
    shown = " ".join(shown_by(capsys, "info", name).split())
    collection = load_registry().find(name)
    assert collection is not None
    assert f"https://doi.org/{collection.doi}" in shown
    for pitfall in collection.pitfalls:
        assert pitfall in shown
    for file in collection.supporting:
        assert file.title in shown
        assert (file.basket or "") in shown


def test_info_and_plan_warn_of_what_the_catalog_records(capsys: Captured) -> None:
    warning = "1,165 of 1,241 series (94 %) are compressed as JPEG Lossless"
    assert warning in " ".join(shown_by(capsys, "info", "ricord-1c").split())
    assert read(capsys, "info", "ricord-1c")["collection"]["warnings"][0].startswith(warning)
    assert f"MIDRC-RICORD-1C: {warning}" in shown_by(capsys, "plan", "ricord-1c")
    (group,) = read(capsys, "plan", "ricord-1c")["collections"]
    assert group["warnings"][1].startswith("247 of 720 CR series are MONOCHROME1")
    (dx,) = read(capsys, "plan", "ricord-1c", "--modality", "DX")["collections"]
    assert len(dx["warnings"]) == 1


def test_plan_names_the_license(capsys: Captured) -> None:
    shown = shown_by(capsys, "plan", *SMALL)
    assert "MIDRC-RICORD-1B: license CC BY-NC 4.0 (no commercial use), https://creative" in shown
    assert read(capsys, "plan", "covid-19-ar")["collections"][0]["licenses"] == [
        {
            "name": "CC BY 4.0",
            "commercial_use": True,
            "url": "https://creativecommons.org/licenses/by/4.0/",
        }
    ]
    assert "license CC BY 4.0 (commercial" in shown_by(capsys, "plan", "CT Images in COVID-19")


def test_series_as_a_table(capsys: Captured) -> None:
    assert run(["series", *SMALL]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == [
        *("patient", "date", "modality", "body", "part", "images", "size", "description", "series"),
    ]
    assert err.splitlines()[-1] == "2 series, 441 images, 91.1 MB"


@pytest.mark.parametrize("style", ["tcia", "txt", "csv"])
def test_series_writes_manifests_that_can_be_read_again(
    capsys: Captured, tmp_path: Path, style: str
) -> None:
    manifest = tmp_path / f"two.{style}"
    manifest.write_text(shown_by(capsys, "series", *SMALL, "--format", style))
    (uids,) = read_manifest(manifest).identifiers.values()
    assert len(uids) == 2
    again = read(capsys, "series", str(manifest))
    assert sorted(series["SeriesInstanceUID"] for series in again["series"]) == sorted(uids)


def test_series_as_csv_has_one_row_per_series(capsys: Captured) -> None:
    rows = list(csv.DictReader(io.StringIO(shown_by(capsys, "series", *SMALL, "--format", "csv"))))
    assert [row["Modality"] for row in rows] == ["CT", "CT"]


def test_series_as_json_is_one_document_either_way(capsys: Captured) -> None:
    document = json.loads(shown_by(capsys, "series", *SMALL, "--format", "json"))
    assert document == read(capsys, "series", *SMALL, "--format", "json")


def test_series_reports_what_filters_leave_out(capsys: Captured) -> None:
    assert run(["series", "COVID-19-AR", "--body-part", "chest"]) == 0
    assert "63 series have no value for the filter --body-part" in capsys.readouterr().err


def test_plan_needs_no_network_and_writes_nothing(capsys: Captured, tmp_path: Path) -> None:
    shown = shown_by(capsys, "plan", "COVID-19-AR", "MIDRC-RICORD-1A", "-o", "data/deep")
    assert "total" in shown
    assert "to download into data/deep: 690 series, 63,791 images, 31.6 GB" in shown
    assert "at an assumed 10.0 MB/s" in shown
    assert not list(tmp_path.iterdir())


def test_plan_estimates_with_the_maximum_rate(capsys: Captured) -> None:
    shown = shown_by(capsys, "plan", *SMALL, "--max-rate", "1MB")
    assert "time: about 2 min at the 1.0 MB/s of --max-rate" in shown


def test_plan_reports_a_disk_that_is_too_small(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    shown = shown_by(capsys, "plan", *SMALL)
    document = read(capsys, "plan", *SMALL)
    assert document["disk"]["enough"] is False
    needed = format_size(document["bytes"]["to_fetch"])
    assert f"disk: 1.0 MB free, NOT enough: {needed} are needed, and " in shown


@pytest.mark.parametrize("output", ["taken", "taken/deep/er"])
def test_plan_reports_a_file_in_the_place_of_the_folder(capsys: Captured, output: str) -> None:
    Path("taken").write_text("in the way")
    assert run(["plan", *SMALL, "-o", output]) == 4
    error = f"error: cannot write to {output}: taken is a file, not a folder\n"
    assert error in capsys.readouterr().err


def test_verify_of_a_folder_without_complete_series_points_to_status(capsys: Captured) -> None:
    Path("data/COVID-19-AR/.tcia-covid/series").mkdir(parents=True)
    assert run(["verify", "data"]) == 0
    shown = capsys.readouterr().out
    assert "no series is complete: 'tcia-covid status data' shows what is missing" in shown


def test_an_empty_selection_is_an_error(capsys: Captured) -> None:
    assert run(["plan", *SMALL, "--modality", "MR"]) == 2
    assert "no series has --modality 'MR': MIDRC-RICORD-1B has CT (120)" in capsys.readouterr().err


def test_dry_run_is_the_plan(capsys: Captured) -> None:
    dry_run, plan = (
        [line for line in shown_by(capsys, *command, *SMALL).splitlines() if "disk:" not in line]
        for command in (["download", "--dry-run"], ["plan"])
    )  # the free space changes between the two commands
    assert dry_run == plan
    assert read(capsys, "download", *SMALL, "--dry-run")["dry_run"] is True


def test_a_license_that_forbids_the_use_is_refused(capsys: Captured) -> None:
    assert run(["plan", "MIDRC-RICORD-1A", "--commercial-use"]) == 2
    assert "forbids commercial use" in capsys.readouterr().err


def test_cite_in_words(capsys: Captured) -> None:
    shown = shown_by(capsys, "cite", "CT Images in COVID-19")
    for head in ("Data citation:", "Publication:", "The Cancer Imaging Archive:"):
        assert head in shown


def test_several_collections_are_cited_without_repetition(capsys: Captured) -> None:
    both = ("MIDRC-RICORD-1A", "MIDRC-RICORD-1B")
    bibtex = shown_by(capsys, "cite", *both, "--format", "bibtex")
    keys = [line for line in bibtex.splitlines() if line.startswith("@")]
    assert len(keys) == len(set(keys)) == 4
    csl = json.loads(shown_by(capsys, "cite", *both, "--format", "csl-json"))
    assert len({item["id"] for item in csl}) == len(csl) == 4


def test_a_series_is_cited_by_its_collection(capsys: Captured) -> None:
    uid = read(capsys, "series", *SMALL)["series"][0]["SeriesInstanceUID"]
    (cited,) = read(capsys, "cite", uid)["collections"]
    assert cited["collection"] == "MIDRC-RICORD-1B"
    assert {reference["role"] for reference in cited["references"]} >= {"data", "archive"}


@pytest.mark.parametrize("command", ["list", "info COVID-19-AR", "cite COVID-19-AR", "--version"])
def test_quiet_shows_results(capsys: Captured, command: str) -> None:
    assert shown_by(capsys, *command.split(), "--quiet")
