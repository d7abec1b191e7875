"""What words are taken for, without an archive: every kind, and every refusal with its advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import NotDicomError, UnknownCollectionError, UsageError
from tcia_covid.selection.targets import Target, Unknown, parse_targets, split_targets
from tests.unit.selection.helpers import CatalogOnly, selected

REGISTRY = load_registry()
SERIES = series_catalog.load("MIDRC-RICORD-1A")[0]
STUDY = [
    series.uid for series in series_catalog.load(SERIES.collection) if series.study == SERIES.study
]
PATIENT = [
    series.uid
    for series in series_catalog.load(SERIES.collection)
    if series.patient == SERIES.patient
]
UUID = "00000000-1111-2222-3333-444444444444"


def parsed(word: str) -> Target:
    (target,) = parse_targets([word], REGISTRY)
    return target


@pytest.mark.parametrize(
    "word",
    [
        "covid19ar",
        "COVID 19 AR",
        "10.7937/TCIA.2020.PY71-5978",
        "https://doi.org/10.7937/tcia.2020.py71-5978",
        "https://www.cancerimagingarchive.net/collection/covid-19-ar/",
        "https://wiki.cancerimagingarchive.net/pages/viewpage.action?pageId=70226443",
    ],
)
def test_a_collection_is_known_by_its_names_and_addresses(word: str) -> None:
    target = parsed(word)
    assert target.kind == "collection"
    assert [collection.name for collection in target.collections] == ["COVID-19-AR"]


@pytest.mark.parametrize(
    ("word", "kind", "uids"),
    [
        (SERIES.uid, "SeriesInstanceUID", [SERIES.uid]),
        (f" {SERIES.uid} ", "SeriesInstanceUID", [SERIES.uid]),
        (SERIES.study, "StudyInstanceUID", STUDY),
        (SERIES.patient, "PatientID", PATIENT),
        (SERIES.patient.lower(), "PatientID", PATIENT),
        (f"{SERIES.crdc_uuid}", "crdc_series_uuid", [SERIES.uid]),
        (f"{SERIES.crdc_uuid}".upper(), "crdc_series_uuid", [SERIES.uid]),
        (f"s3://idc-open-data-cr/{SERIES.crdc_uuid}/*", "crdc_series_uuid", [SERIES.uid]),
        *(
            (f"https://{host}/{SERIES.crdc_uuid}/{rest}", "crdc_series_uuid", [SERIES.uid])
            for host in (
                "idc-open-data.s3.amazonaws.com",
                "idc-open-data.s3.us-east-1.amazonaws.com",
                "s3.amazonaws.com/idc-open-data",
                "storage.googleapis.com/idc-open-data",
            )
            for rest in ("", "0ea5.dcm", "?prefix=x")
        ),
        (f"gs://idc-open-cr/{SERIES.crdc_uuid}/x.dcm", "crdc_series_uuid", [SERIES.uid]),
    ],
)
def test_what_the_catalog_has_is_known_offline(word: str, kind: str, uids: list[str]) -> None:
    target = parsed(word)
    assert (target.kind, list(target.uids), target.unknown) == (kind, uids, [])


def test_the_catalog_comes_before_a_file_and_a_folder_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / SERIES.patient).write_text("1.2.3\n")
    (tmp_path / "COVID-19-AR").mkdir()
    assert parsed(SERIES.patient).kind == "PatientID"
    assert parsed("COVID-19-AR").kind == "collection"
    assert list(parsed(f"./{SERIES.patient}").uids) != PATIENT


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("1.2.3", "word"),
        ("LIDC-IDRI", "word"),
        (UUID, "crdc_series_uuid"),
        (f"s3://idc-open-data/{UUID}/", "address"),
        (f"gs://idc-open-data/{UUID}", "address"),
    ],
)
def test_only_an_archive_knows_the_rest(word: str, kind: str) -> None:
    assert parsed(word).unknown == [Unknown(kind, word)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "problem", "advice"),
    [
        ("", "a target is empty", "tcia-covid list"),
        ("covid-19-arr", "there is no collection", "did you mean 'COVID-19-AR'?"),
        ("COVD19NYSBU", "there is no collection", "did you mean 'COVID-19-NY-SBU'"),
        ("1.2.840." + "1" * 64, "it has 72 characters, and a UID at most 64", "whole UID"),
        ("1.2.840.1l3", "character 'l' at position 10", "whole UID"),
        ("1.2.840..113", "a number is missing next to the dot at position 8", "whole UID"),
        ("s3://idc-open-data/", "names no series", "s3://BUCKET/UUID/"),
        ("gs://idc-open-data/readme.txt", "names no series", "s3://BUCKET/UUID/"),
        (
            "https://nbia.cancerimagingarchive.net/nbia-search/?saved-cart=nbia-12%203",
            "is the address of a shared cart",
            "did you mean --shared-cart 'nbia-12 3'?",
        ),
    ],
)
def test_a_word_that_cannot_be_a_target_is_answered_at_once(
    word: str, problem: str, advice: str
) -> None:
    with pytest.raises((UsageError, UnknownCollectionError)) as raised:
        parsed(word)
    assert problem in raised.value.message
    assert advice in raised.value.hint


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder, which is no target") as raised:
        parsed(str(tmp_path))
    assert raised.value.hint == f"did you mean -o {tmp_path}?"
    for name in (".hidden.csv", "b.tcia", "a.s5cmd", "notes"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError) as raised:
        parsed(str(tmp_path))
    assert raised.value.hint.endswith(f", or a manifest in it, such as {tmp_path}/a.s5cmd?")


def test_volumes_are_no_series() -> None:
    with pytest.raises(NotDicomError, match="published as NIfTI"):
        parsed("ct images in covid 19")


def test_without_a_target_the_kinds_are_named() -> None:
    with pytest.raises(UsageError, match="no target given") as raised:
        parse_targets([], REGISTRY)
    assert "a study or a patient" in raised.value.hint


def test_a_manifest_names_series_studies_and_patients(tmp_path: Path) -> None:
    manifest = tmp_path / "cohort.txt"
    manifest.write_text(f"{SERIES.uid}\n1.2.3\n{SERIES.uid}\n")
    target = parsed(str(manifest))
    named = [*target.uids, *(item.value for item in target.unknown)]
    assert named == [SERIES.uid, "1.2.3"]
    assert target.notices == [f"{manifest} repeats earlier entries 1 time; each counts once"]


def test_commas_separate_targets_but_not_in_files_and_addresses(tmp_path: Path) -> None:
    file = tmp_path / "a,b.tcia"
    file.touch()
    address = "https://example.org/a,b.tcia"
    words = ["A, B", "C,", str(file), address]
    assert split_targets(words) == ("A", "B", "C", str(file), address)


def test_each_target_is_reported_with_its_collection_and_number_of_series() -> None:
    words = ["covid19ar", "MIDRC-RICORD-1A", SERIES.study]
    selection = selected(words, REGISTRY, CatalogOnly())
    assert [(item.kind, item.collections, item.series) for item in selection.resolved] == [
        ("collection", ["COVID-19-AR"], 461),
        ("collection", ["MIDRC-RICORD-1A"], 229),
        ("StudyInstanceUID", ["MIDRC-RICORD-1A"], len(STUDY)),
    ]
    assert selection.notices == [
        "covid19ar: collection COVID-19-AR, 461 series",
        f"{SERIES.study}: StudyInstanceUID of MIDRC-RICORD-1A, {len(STUDY)} series",
    ]


def test_a_series_that_two_collections_list_is_reported(tmp_path: Path) -> None:
    """A registry may list the same series a second time, under another name."""
    file = tmp_path / "mine.yaml"
    file.write_text("collections: {Subset: {format: DICOM}}")
    lists = CatalogOnly({"Subset": series_catalog.load("COVID-19-AR")[:3]})
    selection = selected(["COVID-19-AR", "Subset"], load_registry([file]), lists)
    assert selection.notices == [
        "3 series of Subset are also in COVID-19-AR, and are selected once"
    ]
    assert [(group.name, len(group.series)) for group in selection.groups] == [("COVID-19-AR", 461)]
    assert [item.series for item in selection.resolved] == [461, 3]
