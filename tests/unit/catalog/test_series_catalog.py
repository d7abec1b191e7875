"""The shipped catalog: complete to the byte, small, quick, made the same way every time."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from scripts import build_catalog
from tcia_covid.catalog import series_catalog
from tcia_covid.core.errors import RegistryError, UnknownCollectionError
from tcia_covid.core.safe_names import is_uid

ROOT = Path(__file__).resolve().parents[3]
REGISTRY = yaml.safe_load((ROOT / "collections.yaml").read_text("utf-8"))["collections"]
NAMES = ["COVID-19-AR", "COVID-19-NY-SBU", "MIDRC-RICORD-1A", "MIDRC-RICORD-1B", "MIDRC-RICORD-1C"]
MODULE = sys.modules["tcia_covid.catalog.series_catalog"]
FOLDER = Path(str(MODULE.__file__)).parent


def test_the_catalog_records_its_source() -> None:
    info = series_catalog.info()
    assert [item.collection for item in info.entries] == NAMES
    assert sum(entry.series for entry in info.entries) == 20001
    assert info.version.startswith(f"{info.idc_version}.")
    assert len(info.built) == len("2026-01-01")


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_agree_with_the_registry_to_the_byte(name: str) -> None:
    series = series_catalog.load(name)
    entry, expected = series_catalog.entry(name), REGISTRY[name]
    assert entry is not None
    totals = {
        "patients": len({item.patient for item in series}),
        "studies": len({item.study for item in series}),
        "series": len({item.uid for item in series}),
        "images": sum(item.image_count or 0 for item in series),
        "bytes": sum(item.size or 0 for item in series),
    }
    assert totals == {key: expected[key] for key in totals}
    listed = (entry.patients, entry.studies, entry.series, entry.images, entry.size)
    assert listed == tuple(totals.values())
    assert {item.modality for item in series} == set(expected["modalities"])
    assert {item.license for item in series} == {expected["license"]["name"]}
    assert {item.license_url for item in series} == {expected["license"]["url"]}
    assert {item.bucket for item in series} == {expected["idc"]["bucket"]}
    assert {item.collection for item in series} == {name}
    assert {str(item.data_url).lower() for item in series} == {
        f"https://doi.org/{expected['doi']}".lower()
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_series_has_all_identifiers_and_counts(name: str) -> None:
    for item in series_catalog.load(name):
        assert is_uid(item.uid)
        assert is_uid(item.study)
        assert item.patient
        assert item.image_count is not None
        assert item.image_count > 0
        assert item.size is not None
        assert item.size > 0
        assert len(str(item.crdc_uuid)) == 36
        assert item.date is None or len(item.date) == len("2012-01-17")


def test_a_known_series_has_its_facts() -> None:
    uid = "1.3.6.1.4.1.14519.5.2.1.9999.103.2772748514240373421475911810044"
    item = series_catalog.find([uid])[uid]
    assert (item.collection, item.patient) == ("COVID-19-AR", "COVID-19-AR-16406488")
    assert (item.modality, item.body_part, item.number) == ("DX", "CHEST", 1)
    assert (item.date, item.study_date) == ("2012-01-17", "2012-01-17")
    assert (item.description, item.study_description) == ("Lateral L", "XR CHEST AP ONLY")
    assert (item.manufacturer, item.manufacturer_model) == ("Philips", "MobileDiagnost wDR")
    assert (item.patient_sex, item.patient_age) == ("M", "067Y")
    assert item.sop_class == "1.2.840.10008.5.1.4.1.1.1.1"
    assert item.transfer_syntax == "1.2.840.10008.1.2"
    assert item.photometric_interpretation == "MONOCHROME2"
    assert (item.image_count, item.size) == (1, 13_266_126)
    assert item.crdc_uuid == "35823972-03f1-41e3-8ab2-418c862ec07c"


def test_series_are_found_across_collections_in_the_order_given() -> None:
    uids = [series_catalog.load(name)[-1].uid for name in reversed(NAMES)]
    found = series_catalog.find([uids[0], "1.2.3", *uids])
    assert list(found) == uids
    assert [item.collection for item in found.values()] == NAMES[::-1]
    assert series_catalog.find([]) == {}


UID = "1.3.6.1.4.1.14519.5.2.1.9999.103.2772748514240373421475911810044"


@pytest.mark.parametrize(
    ("attribute", "column"),
    [
        ("uid", "SeriesInstanceUID"),
        ("study", "StudyInstanceUID"),
        ("patient", "PatientID"),
        ("crdc_uuid", "crdc_series_uuid"),
    ],
)
def test_an_identifier_is_looked_up_in_any_case(attribute: str, column: str) -> None:
    identifier = getattr(series_catalog.find([UID])[UID], attribute)
    expected = [
        item
        for item in series_catalog.load("COVID-19-AR")
        if getattr(item, attribute) == identifier
    ]
    for text in (identifier, identifier.lower(), identifier.upper()):
        assert series_catalog.lookup(text) == (column, expected)
        assert series_catalog.lookup(text, ["Modality"]) is None


def test_no_identifier_means_two_things() -> None:
    """So the one column that `lookup` names is the only one."""
    owners: dict[str, tuple[str, str]] = {}
    for name in NAMES:
        for item in series_catalog.load(name):
            values = (item.uid, item.study, item.patient, str(item.crdc_uuid))
            for column, value in zip(series_catalog.IDENTIFIERS, values, strict=True):
                key = value if column in {"PatientID", "StudyInstanceUID"} else item.uid
                assert owners.setdefault(value.casefold(), (column, key)) == (column, key)


def test_words_that_are_no_identifiers_are_not_found() -> None:
    for word in ("", "1.2.3", "CT", "COVID-19-AR"):
        assert series_catalog.lookup(word) is None


def test_changing_a_returned_list_does_not_change_the_catalog() -> None:
    series_catalog.load("MIDRC-RICORD-1B").clear()
    assert len(series_catalog.load("MIDRC-RICORD-1B")) == 120


def test_an_unknown_collection_is_an_error() -> None:
    assert series_catalog.has("MIDRC-RICORD-1C")
    assert not series_catalog.has("CT Images in COVID-19")
    with pytest.raises(UnknownCollectionError, match="'CT Images in COVID-19'"):
        series_catalog.load("CT Images in COVID-19")


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """The installed files, for a test to damage."""
    files = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.is_file()}

    def read(_package: str, name: str) -> bytes:
        if name not in files:
            raise FileNotFoundError(name)
        return files[name]

    monkeypatch.setattr(MODULE.pkgutil, "get_data", read)
    clear_caches()
    yield files
    clear_caches()


def clear_caches() -> None:
    for function in vars(MODULE).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


B_TABLE = "midrc-ricord-1b.tsv.gz"


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"no gzip",
        (FOLDER / B_TABLE).read_bytes()[:-100],
        (FOLDER / B_TABLE).read_bytes()[:5000] + b"??" + (FOLDER / B_TABLE).read_bytes()[5002:],
        gzip.compress(gzip.decompress((FOLDER / B_TABLE).read_bytes())[:-400], mtime=0),
        gzip.compress(
            gzip.decompress((FOLDER / B_TABLE).read_bytes()).replace(b"\tCT\t", b"\t"), mtime=0
        ),
        gzip.compress(b"\xff", mtime=0),
    ],
    ids=["absent", "empty", "other", "cut", "flipped", "rows cut", "column cut", "not UTF-8"],
)
def test_a_damaged_table_is_named(packaged: dict[str, bytes], content: bytes | None) -> None:
    packaged.pop(B_TABLE)
    if content is not None:
        packaged[B_TABLE] = content
    with pytest.raises(RegistryError, match=f"damaged: {B_TABLE}") as raised:
        series_catalog.load("MIDRC-RICORD-1B")
    assert raised.value.hint == "install tcia-covid again"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"entries": [{"a": 1}]}'])
def test_a_damaged_index_is_named(packaged: dict[str, bytes], content: bytes) -> None:
    packaged["catalog.json"] = content
    with pytest.raises(RegistryError, match=r"damaged: catalog\.json"):
        series_catalog.has("COVID-19-AR")


def test_the_catalog_is_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.gz")) <= 1_500_000


MEASURE = """
from tcia_covid.catalog import series_catalog as catalog
for entry in catalog.info().entries: catalog.load(entry.collection)
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"): print(int(line.split()[1]) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_whole_catalog_needs_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 80e6


def row(uid: str, **known: object) -> dict[str, Any]:
    return {
        **dict.fromkeys(MODULE.COLUMNS),
        "collection_id": "covid_19_ar",
        "analysis_result_id": None,
        "SeriesInstanceUID": uid,
        "PatientID": "P1",
        "StudyInstanceUID": "1.2",
        "SeriesNumber": "3",
        "instanceCount": 2,
        "series_size_MB": 0.527814,
        "license_short_name": "CC BY 4.0",
        "source_DOI": "10.7937/x",
        "aws_bucket": "idc-open-data",
        "crdc_series_uuid": "u",
        **known,
    }


ROWS = [
    row("1.1", SeriesDescription="µ-map"),
    row("1.2", SeriesNumber=None),
    row("2.1", collection_id="midrc_ricord_1c", PatientID="P2", series_size_MB=274.48983),
]


def built(folder: Path, rows: list[dict[str, Any]]) -> dict[str, bytes]:
    folder.mkdir()
    build_catalog.build(rows, release="25.0.5", built="2026-10-01", target=folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_order_of_rows_does_not_change_the_built_file(tmp_path: Path) -> None:
    assert built(tmp_path / "a", ROWS) == built(tmp_path / "b", ROWS[::-1])


def test_a_built_table_can_be_read(tmp_path: Path, packaged: dict[str, bytes]) -> None:
    packaged.update(built(tmp_path / "a", ROWS))
    assert sum(entry.series for entry in series_catalog.info().entries) == 3
    without_number, with_text = series_catalog.load("COVID-19-AR")
    assert (without_number.uid, without_number.number) == ("1.2", None)
    assert (with_text.description, with_text.modality) == ("µ-map", None)
    assert with_text.size == 527_814
    assert series_catalog.load("MIDRC-RICORD-1C")[0].size == 274_489_830
    assert json.loads(packaged["catalog.json"])["built"] == "2026-10-01"


@pytest.mark.parametrize(
    ("known", "complaint"),
    [
        ({"SeriesDescription": "a\tb"}, "unprintable"),
        ({"SeriesDescription": "a\nb"}, "unprintable"),
        ({"series_size_MB": 0.5278145}, "not a whole number of bytes"),
        ({"analysis_result_id": "x"}, "analysis result"),
    ],
)
def test_rows_that_the_table_cannot_hold_are_refused(
    known: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        build_catalog.table([row("1.1", **known)])


def test_the_shipped_tables_equal_those_of_the_index_package(tmp_path: Path) -> None:
    shipped = series_catalog.info()
    pytest.importorskip("idc_index_data")
    if version(build_catalog.PACKAGE) != shipped.version:
        pytest.skip("another release of IDC's index is installed than the one shipped")
    rows = build_catalog.read_index()
    made = build_catalog.build(rows, release=shipped.version, built=shipped.built, target=tmp_path)
    assert made == shipped
    for path in tmp_path.glob("*.tsv.gz"):
        assert gzip.decompress(path.read_bytes()) == gzip.decompress(
            (FOLDER / path.name).read_bytes()
        )


def test_without_the_index_package_the_builder_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build_catalog, "PACKAGE", "idc-index-data-that-is-nowhere")
    with pytest.raises(click.ClickException, match=r"pip install -e '\.\[dev\]'"):
        build_catalog.read_index()
