"""Folder templates: what they give, what they refuse, and which names they keep free."""

from __future__ import annotations

import pytest

from tcia_covid.core.errors import UsageError
from tcia_covid.core.models import ImageAttributes
from tcia_covid.core.safe_names import is_reserved
from tcia_covid.store.layout import DESCRIPTIVE, RETRIEVER, UID, Layout
from tcia_covid.store.reports import REPORT_FILES
from tcia_covid.supporting.receipts import FOLDER
from tests.unit.trees import ROOT, series_of

SERIES = series_of(
    7, description="CT CHEST w/o", study_description="Ädema", number=3, study_date="2020-03-04"
)


def test_the_uid_layout_is_patient_study_series() -> None:
    assert Layout.parse("uid") is UID
    assert str(UID.folder(SERIES)) == f"PATIENT-7/{ROOT}.7.9/{ROOT}.7"


def test_the_descriptive_layout_is_readable() -> None:
    assert Layout.parse("descriptive") is DESCRIPTIVE
    expected = "PATIENT-7/2020-03-04-dema-7_7_9/CT-3-CT_CHEST_w_o-_77_7"
    assert str(DESCRIPTIVE.folder(SERIES)) == expected


def test_a_series_has_other_folders_for_when_its_first_one_is_another_series() -> None:
    layout = Layout.parse("{patient}/{series_tail}")
    assert str(layout.folder(SERIES)) == "PATIENT-7/_77_7"
    assert layout.folders(SERIES) == (
        "PATIENT-7/_77_7",
        f"PATIENT-7/_77_7-{SERIES.uid}",
        f"PATIENT-7-{SERIES.uid}/_77_7",
    )
    assert all(layout.has_folder(folder, SERIES) for folder in layout.folders(SERIES))
    assert not layout.has_folder(f"PATIENT-7/{ROOT}.7", SERIES)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{patient}/{nonsense}/{series}", "unknown field {nonsense}"),
        ("{patient}/{study}", "several series the same folder"),
        ("retriver", "there is no layout 'retriver'"),
        ("{patient", "cannot be read"),
        ("{patient!r}/{series}", "no such format or conversion"),
        ("{number:>5}/{series}", "no such format or conversion"),
        ("{number:099}/{series}", "no such format or conversion"),
        ("{patient:03}/{series}", "no such format or conversion"),
        ("{series.uid}", "unknown field {series.uid}"),
        ("{series}/{instance_number}", "is in the name of a folder"),
        ("{series}/{modality}.dcm", "several images the same file name"),
        ("{patient}/{instance_number}.dcm", "several series the same folder"),
        ("{series}/{nonsense}.dcm", "unknown field {nonsense}"),
        ("supporting/{series}", "reserved name"),
        ("Metadata.CSV/{series}", "reserved name"),
        ("nul/{series}", "reserved name"),
        (".tcia-covid/{series}", "reserved name"),
    ],
)
def test_an_invalid_template_is_refused(template: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Layout.parse(template)


@pytest.mark.parametrize(
    "name", ["supporting", "SUPPORTING", "License.txt", ".tcia-covid", "CON", "aux.1", "Thumbs.db"]
)
def test_no_series_gets_a_folder_with_a_reserved_name(name: str) -> None:
    series = series_of(1, patient=name, description=name)
    for template in ("uid", "{description}/{series}", "{patient}/{description}/{series}"):
        for part in Layout.parse(template).folder(series).parts:
            assert part.casefold() != name.casefold()
            assert not part.startswith(".")


def test_names_next_to_the_patients_folders_are_reserved() -> None:
    assert all(is_reserved(name) for name in (*REPORT_FILES, FOLDER))


def image(number: str = "", acquisition: str = "") -> ImageAttributes:
    return ImageAttributes(number=number, acquisition=acquisition)


def names_of(template: str, *images: ImageAttributes) -> list[str]:
    """The file names that a layout gives images, in their order."""
    by_uid = {f"{SERIES.uid}.{index}": each for index, each in enumerate(images, start=1)}
    return list(Layout.parse(template).file_names(SERIES, by_uid).values())


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (  # RICORD-1A, as programs of its users write it
            {
                "patient": "MIDRC-RICORD-1A-419639-000082",
                "study": "1.2.826.0.1.3680043.10.474.419639.04614",
                "uid": "1.2.826.0.1.3680043.10.474.419639.26970",
                "study_date": "2002-08-02",
                "study_description": "CT CHEST WITHOUT CONTRAST",
                "number": 3,
                "description": "0.625mm bone alg",
            },
            (
                "MIDRC-RICORD-1A-419639-000082/08-02-2002-NA-CT CHEST WITHOUT CONTRAST-04614"
                "/3.000000-0.625mm bone alg-26970"
            ),
        ),
        (  # COVID-19-AR: commas are dropped
            {
                "patient": "COVID-19-AR-16406498",
                "study": "1.3.6.1.4.1.14519.5.2.1.9999.103.94020",
                "uid": "1.3.6.1.4.1.14519.5.2.1.9999.103.36788",
                "study_date": "2012-02-22",
                "study_description": "CT CHEST W CONTRAST",
                "number": 80328,
                "description": "MPR, CORONALS, Coronal",
            },
            (
                "COVID-19-AR-16406498/02-22-2012-NA-CT CHEST W CONTRAST-94020/"
                "80328.000000-MPR CORONALS Coronal-36788"
            ),
        ),
        (  # COVID-19-AR: a series without a description
            {
                "patient": "COVID-19-AR-16406488",
                "study": "1.3.6.1.4.1.14519.5.2.1.9999.103.24124",
                "uid": "1.3.6.1.4.1.14519.5.2.1.9999.103.00046",
                "study_date": "2012-01-15",
                "study_description": "XR CHEST AP ONLY",
                "number": 1001,
            },
            "COVID-19-AR-16406488/01-15-2012-NA-XR CHEST AP ONLY-24124/1001.000000-NA-00046",
        ),
        (  # COVID-19-NY-SBU
            {
                "patient": "A000801",
                "study": "1.3.6.1.4.1.14519.5.2.1.99.1071.00860",
                "uid": "1.3.6.1.4.1.14519.5.2.1.99.1071.96858",
                "study_date": "1900-12-25",
                "study_description": "CHEST AP VIEWONLY",
                "number": 1,
                "description": "AP",
            },
            "A000801/12-25-1900-NA-CHEST AP VIEWONLY-00860/1.000000-AP-96858",
        ),
        (  # HNSCC: without a number, that part is left out
            {"study": "1.2.43582", "uid": "1.2.28768", "study_date": "1998-12-05"},
            "PATIENT-7/12-05-1998-NA-NA-43582/NA-28768",
        ),
    ],
)
def test_the_retriever_layout_gives_the_paths_that_public_programs_contain(
    facts: dict[str, object], expected: str
) -> None:
    assert str(RETRIEVER.folder(series_of(7, **facts))) == expected


def test_the_retriever_layout_has_the_study_id_of_the_header() -> None:
    folder = RETRIEVER.folder(SERIES, "45/A")
    assert folder.parts[1] == "03-04-2020-45A-dema-7.7.9"


def test_long_descriptions_are_cut_as_the_retriever_cuts_them() -> None:
    series = series_of(7, description="x" * 60, number=1)
    assert RETRIEVER.folder(series).name == f"1.000000-{'x' * 53}-{series.uid[-5:]}"


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([image("1")], ["1-1"]),
        ([image(str(n)) for n in range(1, 11)], [f"1-{n:02}" for n in range(1, 11)]),
        ([image("3"), image("1"), image("2")], ["1-3", "1-1", "1-2"]),
        ([image("7"), image("9")], ["1-1", "1-2"]),  # ordinals, not InstanceNumbers
        ([image("1", "1"), image("2", "1"), image("3", "2")], ["1-1", "1-2", "2-1"]),
        ([image("1", "2"), image("2", "1"), image("3", "2")], ["1-1", "2-1", "3-1"]),
        ([image("5"), image("5"), image("5")], ["1-1", "1-2", "1-3"]),
        ([image(), image(), image("1")], ["1-1", "1-2", "1-3"]),
    ],
)
def test_images_have_the_names_that_nbia_gives_them(
    images: list[ImageAttributes], expected: list[str]
) -> None:
    names = [f"{name}.dcm" for name in expected]
    assert names_of("retriever", *images) == names_of("retriever-classic", *images) == names


def test_a_template_that_ends_in_dcm_names_files() -> None:
    names = names_of("{series}/{modality}-{instance_number:03}.dcm", image("7"), image("12"))
    assert names == ["CT-007.dcm", "CT-012.dcm"]
    assert names_of("{series}", image("7")) == []
    layout = Layout.parse("{study_id}/{number:04}-{series}/{sop}.dcm")
    assert str(layout.folder(SERIES, "X 1")) == f"X_1/0003-{SERIES.uid}"
    assert names_of("{series}/{sop}.dcm", image()) == [f"{SERIES.uid}.1.dcm"]


def test_images_of_one_name_get_their_uids_appended() -> None:
    images = image("5"), image(), image("5"), image("6"), image()
    assert names_of("{series}/{instance_number:03}.dcm", *images) == [
        f"005-{SERIES.uid}.1.dcm",
        f"NA-{SERIES.uid}.2.dcm",
        f"005-{SERIES.uid}.3.dcm",
        "006.dcm",
        f"NA-{SERIES.uid}.5.dcm",
    ]


def test_names_that_differ_only_in_case_count_as_one() -> None:
    layout = Layout.parse("{series}/{sop}.dcm")
    assert len(layout.file_names(SERIES, {"1.2": None, "1.3": None})) == 2
    assert layout.file_names(SERIES, {}) == {}


@pytest.mark.parametrize("template", ["uid", "retriever", "{series}/{instance_number}.dcm"])
def test_no_path_is_longer_than_the_longest(template: str) -> None:
    layout = Layout.parse(template)
    (name,) = layout.file_names(SERIES, {"1.2.3": image("12345")}).values() or ["1.2.3.dcm"]
    assert len(str(layout.folder(SERIES, "1234567") / name)) <= len(
        str(layout.longest_path(SERIES))
    )
