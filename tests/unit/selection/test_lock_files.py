"""Lock files: what they pin, and that a false value is never accepted silently."""

from __future__ import annotations

import csv
import gzip
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import FailureReason, ManifestError
from tcia_covid.core.models import Series
from tcia_covid.selection.filters import Filters
from tcia_covid.selection.lock_files import freeze
from tcia_covid.selection.lookup import ArchiveLookup
from tcia_covid.selection.manifests.model import PINNED
from tcia_covid.selection.manifests.objects import read_objects
from tcia_covid.selection.manifests.read import read_manifest
from tcia_covid.selection.manifests.write import csv_lines
from tcia_covid.selection.resolve import Selection, resolve
from tcia_covid.selection.targets import parse_targets
from tests.unit.selection.helpers import CatalogOnly

SERIES = series_catalog.load("MIDRC-RICORD-1B")[:3]
HASHES = [f"{number:032x}" for number in range(3)]
Edit = Callable[[list[dict[str, str]]], object]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(series: list[Series], edit: Edit = lambda rows: None, name: str = "lock.csv") -> str:
    """Write a lock file, with its rows edited."""
    rows = list(csv.DictReader(csv_lines(series)))
    edit(rows)
    with Path(name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return name


def frozen(*files: str, listed: list[Series] | None = None) -> Selection:
    """What lock files select of what an archive lists."""
    registry = load_registry()
    source = CatalogOnly() if listed is None else CatalogOnly({"MIDRC-RICORD-1B": listed})
    targets = parse_targets(files, registry, pinned=True)
    return resolve(
        targets, registry, source, ArchiveLookup(None, registry), filters=Filters(), frozen=True
    )


def hashed() -> list[Series]:
    return [replace(series, md5=md5) for series, md5 in zip(SERIES, HASHES, strict=True)]


def _pin(row: dict[str, Any]) -> dict[str, Any]:
    """What a row pins, without its hash."""
    names = ("ImageCount", "FileSize", "crdc_series_uuid")
    return {PINNED[name]: row[name] for name in names}


def set_value(column: str, value: str) -> Edit:
    """Change a value in the last row."""
    return lambda rows: rows[-1].update({column: value})


def drop_column(column: str) -> Edit:
    return lambda rows: [row.pop(column) for row in rows]


def test_a_lock_file_selects_its_versions_and_keeps_the_hashes() -> None:
    assert frozen(write(SERIES)).series == SERIES
    selection = frozen(write(hashed()))
    assert selection.series == hashed()
    assert not selection.failures


def test_json_is_a_lock_file_as_csv_is() -> None:
    document = {"command": "series", "series": [series.to_dict() for series in hashed()]}
    Path("lock.json").write_text(json.dumps(document))
    assert frozen("lock.json").series == hashed()


@pytest.mark.parametrize("packed", [".gz", ".zip"])
def test_a_packed_lock_file_pins_the_same(packed: str) -> None:
    file = Path(write(hashed()))
    if packed == ".gz":
        Path("lock.csv.gz").write_bytes(gzip.compress(file.read_bytes()))
    else:
        with zipfile.ZipFile("lock.csv.zip", "w") as archive:
            archive.write(file)
    pins = read_manifest(f"lock.csv{packed}", pinned=True).pins
    assert pins == read_manifest(file, pinned=True).pins
    assert len(pins) == 3


def test_versions_stay_with_their_series_where_others_have_none() -> None:
    first, second, third = (series.to_dict() for series in hashed())
    bare = {"SeriesInstanceUID": SERIES[1].uid}
    without_hash = third | {"series_hash": None}
    without_column = {name: value for name, value in third.items() if name != "series_hash"}
    for last, hashes in ((without_hash, {"md5": None}), (without_column, {})):
        Path("lock.json").write_text(json.dumps([first, bare, last, first, second]))
        pins = read_manifest("lock.json", pinned=True).pins
        assert list(pins) == [series.uid for series in SERIES]
        assert pins[SERIES[0].uid] == _pin(first) | {"md5": HASHES[0]}
        assert pins[SERIES[1].uid] == _pin(second) | {"md5": HASHES[1]}
        assert pins[SERIES[2].uid] == _pin(third) | hashes


def test_a_series_without_a_version_is_not_among_those_with_one() -> None:
    documents = [{"SeriesInstanceUID": SERIES[0].uid}, hashed()[1].to_dict()]
    Path("lock.json").write_text(json.dumps(documents))
    pins = read_manifest("lock.json", pinned=True).pins
    assert (len(pins), SERIES[0].uid in pins, SERIES[1].uid in pins) == (1, False, True)
    assert pins.get("1.2.3") is None


def test_pairs_of_rows_that_repeat_are_read_in_linear_time() -> None:
    rows = []
    for number in range(0, 20_000, 2):
        pair = [f"1.2.{number + each},92,1,,\n" for each in (0, 1)]
        rows += [*pair, *pair]
    header = "SeriesInstanceUID,ImageCount,FileSize,crdc_series_uuid,series_hash\n"
    Path("lock.csv").write_text(header + "".join(rows))
    started = time.process_time()
    pins = read_manifest("lock.csv", pinned=True).pins
    assert time.process_time() - started < 3
    assert len(pins) == 20_000


def test_a_zip_may_begin_with_another_kind_of_list() -> None:
    with zipfile.ZipFile("lock.zip", "w") as archive:
        archive.writestr("patients.csv", f"PatientID\n{SERIES[0].patient}\n")
        archive.write(write(SERIES))
    assert len(read_manifest("lock.zip", pinned=True).pins) == len(SERIES)


@pytest.mark.parametrize("second", [None, "changed"])
def test_files_of_a_zip_are_one_lock_file(second: str | None) -> None:
    edit = set_value("ImageCount", "1") if second else lambda rows: None
    with zipfile.ZipFile("lock.zip", "w") as archive:
        archive.write(write(SERIES[:2], name="first.csv"))
        archive.write(write(SERIES[1:2], edit, name="second.csv"))
        archive.write(write(SERIES[2:], name="third.csv"))
    if second:
        with pytest.raises(ManifestError, match="has other values here than in line 3"):
            read_manifest("lock.zip", pinned=True)
    else:
        assert frozen("lock.zip").series == SERIES


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ImageCount", "1"),
        ("FileSize", "12"),
        ("crdc_series_uuid", "00000000-0000-4000-8000-000000000000"),
        ("ImageCount", ""),
        ("FileSize", "nan"),
        ("crdc_series_uuid", ""),
    ],
)
def test_an_edited_or_erased_value_fails_as_changed(column: str, value: str) -> None:
    selection = frozen(write(SERIES, set_value(column, value)))
    assert selection.series == SERIES[:2]
    (failure,) = selection.failures
    assert (failure.series, failure.reason) == (SERIES[2].uid, FailureReason.CHANGED)
    assert f"{column} is " in failure.detail


def test_a_value_that_the_archive_does_not_know_is_a_difference() -> None:
    pins = read_manifest(write(SERIES), pinned=True).pins
    unknown = [replace(series, crdc_uuid=None) for series in SERIES]
    same, failures = freeze(unknown, pins)
    assert not same
    assert "crdc_series_uuid is not known, not " in failures[0].detail


@pytest.mark.parametrize("column", ["ImageCount", "FileSize", "crdc_series_uuid"])
def test_a_missing_column_is_refused(column: str) -> None:
    with pytest.raises(ManifestError, match=f"lock.csv has no {column} of series {SERIES[0].uid}"):
        frozen(write(SERIES, drop_column(column)))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ImageCount", "20.0"),
        ("FileSize", "12 MB"),
        ("FileSize", "-1"),
        ("ImageCount", "9" * 30),
        ("crdc_series_uuid", "none of these"),
        ("series_hash", "xyz"),
    ],
)
def test_what_can_be_no_value_is_refused_with_its_line(column: str, value: str) -> None:
    with pytest.raises(
        ManifestError, match=f"lock.csv, line 4 .*'{value}' is no value of {column}"
    ):
        frozen(write(SERIES, set_value(column, value)))


def double(column: str, value: str) -> Edit:
    """Repeat the first row with another value."""
    return lambda rows: rows.append({**rows[0], column: value})


@pytest.mark.parametrize(
    ("column", "value"), [("ImageCount", "7"), ("FileSize", ""), ("series_hash", "f" * 32)]
)
def test_doubled_rows_that_contradict_each_other_are_refused(column: str, value: str) -> None:
    with pytest.raises(ManifestError, match=r"line 5 .* has other values here than in line 2"):
        frozen(write(hashed(), double(column, value)))


def test_equal_doubled_rows_are_merged() -> None:
    assert frozen(write(SERIES, lambda rows: rows.append(rows[0]))).series == SERIES


def test_lock_files_that_contradict_each_other_are_refused() -> None:
    files = write(SERIES), write(SERIES, set_value("ImageCount", "7"), "other.csv")
    with pytest.raises(ManifestError, match=r"lock\.csv and other.csv name different versions"):
        frozen(*files)


def test_a_file_from_which_some_hashes_were_erased_is_refused() -> None:
    with pytest.raises(
        ManifestError, match=r"lock\.csv has a series_hash of some series, and none"
    ):
        frozen(write(hashed(), set_value("series_hash", "")))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SERIES[0].uid, "has no ImageCount, FileSize, crdc_series_uuid of series"),
        (SERIES[0].patient, "has no ImageCount, FileSize, crdc_series_uuid of series"),
        (f"PatientID\n{SERIES[0].patient}", "has no ImageCount"),
        ("1.2.3.4", "target names 1.2.3.4, and --frozen needs the version of each series"),
    ],
)
def test_other_manifests_are_no_lock_files(text: str, problem: str) -> None:
    Path("target").write_text(text)
    with pytest.raises(ManifestError, match=problem):
        frozen("target")


def test_a_collection_is_no_lock_file() -> None:
    with pytest.raises(ManifestError, match="MIDRC-RICORD-1B is a collection, and --frozen"):
        frozen("MIDRC-RICORD-1B")


def test_a_joined_file_without_versions_is_refused() -> None:
    rows = Path(write(SERIES)).read_text()
    Path("lock.csv").write_text(
        rows + f"SeriesInstanceUID\n{series_catalog.load('COVID-19-AR')[0].uid}\n"
    )
    with pytest.raises(ManifestError, match="has no ImageCount, FileSize, crdc_series_uuid"):
        frozen("lock.csv")


@pytest.mark.parametrize("make", [lambda series: series, Series.to_dict])
def test_python_objects_name_versions_too(make: Callable[[Series], Any]) -> None:
    manifest = read_objects([make(series) for series in hashed()], pinned=True)
    assert {uid: pin["md5"] for uid, pin in manifest.pins.items()} == {
        series.uid: series.md5 for series in hashed()
    }
    other = replace(SERIES[0], image_count=1)
    with pytest.raises(ManifestError, match="has other values here"):
        read_objects([make(SERIES[0]), make(other)], pinned=True)
    assert not read_objects([make(SERIES[0]), make(other)]).pins


def test_versions_do_not_matter_without_frozen() -> None:
    assert not read_manifest(write(SERIES, double("ImageCount", "7"))).pins
