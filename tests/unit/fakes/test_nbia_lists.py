"""The simulated NBIA lists its series as each generation of NBIA does."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

import pytest

from tests.fakes.corpus import Corpus, demo_corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_client import Client
from tests.fakes.synthetic import synthetic_corpus

FIVE_SLICES = "1.3.6.1.4.1.5962.1.1.0.0.0.1194734704.16302.0.6"

V4_SERIES = (
    "SeriesInstanceUID, StudyInstanceUID, Modality, ProtocolName, SeriesDate, SeriesDescription, "
    "BodyPartExamined, SeriesNumber, AnnotationsFlag, Collection, Site, PatientID, PatientSex, "
    "PatientAge, AdmittingDiagnosisDescription, Manufacturer, ManufacturerModelName, "
    "SoftwareVersions, ImageCount, MaxSubmissionTimestamp, LicenseName, LicenseURI, "
    "DataDescriptionURI, FileSize, ReleasedStatus, DateReleased, StudyDesc, StudyDate, "
    "ThirdPartyAnalysis, Authorized"
)
V1_SERIES = (
    "SeriesInstanceUID, StudyInstanceUID, Modality, ProtocolName, SeriesDate, SeriesDescription, "
    "BodyPartExamined, SeriesNumber, AnnotationsFlag, Collection, PatientID, Manufacturer, "
    "ManufacturerModelName, SoftwareVersions, ImageCount, TimeStamp, LicenseName, LicenseURI, "
    "CollectionURI, FileSize, DateReleased, StudyDesc, StudyDate, ThirdPartyAnalysis"
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return demo_corpus()


@pytest.fixture(scope="module")
def server(corpus: Corpus) -> Iterator[ArchiveServer]:
    with ArchiveServer(corpus) as server:
        server.carts["nbia-7"] = [FIVE_SLICES, "1.2.3"]
        yield server
    assert server.errors == []


def test_series_rows_have_the_columns_of_their_generation(v1: Client, v4: Client) -> None:
    new = v4.get("getSeries", SeriesInstanceUID=FIVE_SLICES, format="CSV").text
    old = v1.get("getSeries", SeriesInstanceUID=FIVE_SLICES, format="CSV").text
    assert ", ".join(next(csv.reader([new.splitlines()[0]]))) == V4_SERIES
    assert ", ".join(next(csv.reader([old.splitlines()[0]]))) == V1_SERIES


def test_series_rows_have_the_dates_of_their_generation(v1: Client, v4: Client) -> None:
    (new,) = v4.rows("getSeries", SeriesInstanceUID=FIVE_SLICES)
    (old,) = v1.rows("getSeries", SeriesInstanceUID=FIVE_SLICES)
    assert (new["SeriesDate"], new["DateReleased"]) == ("01-01-2001", "01-15-2024")
    assert (old["SeriesDate"], old["TimeStamp"]) == (
        "2001-01-01 00:00:00.0",
        "2024-01-10 00:00:00.0",
    )


def test_json_escapes_slashes_drops_nulls_and_shows_whole_numbers(v4: Client) -> None:
    response = v4.get("getSeries", SeriesInstanceUID=FIVE_SLICES)
    (row,) = response.json()
    assert r"https:\/\/github.com" in response.text
    assert "ProtocolName" not in row
    assert (row["ImageCount"], row["FileSize"], row["SeriesNumber"]) == (5, 19682, 5)
    assert '"FileSize":19682,' in response.text


def test_csv_quotes_everything_and_shows_decimals(v4: Client) -> None:
    response = v4.get("getSeriesSize", SeriesInstanceUID=FIVE_SLICES, format="csv")
    assert response.headers["Content-Type"] == "text/csv"
    assert response.text == '"TotalSizeInBytes","ObjectCount"\n"19682.000000","5"\n'


def test_a_single_column_is_not_quoted(v4: Client) -> None:
    lines = v4.get("getCollectionValues", format="CSV").text.split("\n")
    assert lines[0] == "Collection"
    assert sorted(lines[1:-1]) == ["DEMO-CT", "DEMO-MULTI", "DEMO-OTHER"]


def test_order_changes_between_calls(v4: Client) -> None:
    calls = {v4.get("getSOPInstanceUIDs", SeriesInstanceUID=FIVE_SLICES).text for _ in range(8)}
    assert len(calls) > 1
    assert len({frozenset(re.findall(r"[\d.]{20,}", text)) for text in calls}) == 1


def test_filters_combine_and_names_match_in_any_case(v4: Client) -> None:
    rows = v4.rows("getSeries", Collection="demo-multi", Modality="mr", PatientID="98890234")
    assert len(rows) == 7
    assert {row["Modality"] for row in rows} == {"MR"}


@pytest.mark.parametrize("spelling", ["TWO+WORDS", "two%20words"])
def test_a_plus_is_a_space(spelling: str) -> None:
    with ArchiveServer(synthetic_corpus("TWO WORDS")) as other, Client(other.base_url) as client:
        assert client.rows(f"getPatient?Collection={spelling}")


def test_no_rows_are_200_without_body_or_type(v1: Client, v4: Client) -> None:
    for client in (v1, v4):
        response = client.get("getSeries", Collection="NOBODY", format="CSV")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["Content-Length"] == "0"
        assert "Content-Type" not in response.headers


def test_size_of_an_unknown_series_is_a_row_without_size_before_v4(v1: Client, v4: Client) -> None:
    assert v1.rows("getSeriesSize", SeriesInstanceUID="1.2.3") == [{"ObjectCount": 0}]
    assert v4.get("getSeriesSize", SeriesInstanceUID="1.2.3").content == b""


def test_a_null_among_values_is_an_empty_object(v4: Client) -> None:
    assert {} in v4.rows("getBodyPartValues", Collection="DEMO-MULTI")


def test_values_are_those_of_the_selection(v4: Client) -> None:
    modalities = v4.rows("getModalityValues", Collection="DEMO-MULTI", BodyPartExamined="HEAD")
    makers = v4.rows("getManufacturerValues", Collection="DEMO-MULTI", Modality="CR")
    assert (modalities, makers) == ([{"Modality": "CT"}], [{"Manufacturer": "Agfa-Gevaert AG"}])


def test_patients_and_studies(v1: Client, v4: Client) -> None:
    patient = v4.rows("getPatient", Collection="DEMO-MULTI", PatientId="77654033")[0]
    studies = v1.rows("getPatientStudy", Collection="DEMO-MULTI", PatientID="77654033")
    assert (patient["PatientId"], patient["Phantom"], patient["Authorized"]) == (
        "77654033",
        "NO",
        1,
    )
    assert {study["SeriesCount"] for study in studies} == {1, 3}
    assert "Authorized" not in studies[0]


def test_patients_of_a_modality(v1: Client, v4: Client) -> None:
    asked = {"Collection": "DEMO-MULTI", "Modality": "CR"}
    assert v1.rows("getPatientByCollectionAndModality", **asked) == [{"PatientId": "77654033"}]
    assert v4.rows("getPatientByCollectionAndModality", **asked)[0]["Authorized"] == 1


def test_dates_of_new_things_are_read_in_each_generations_way(v1: Client, v4: Client) -> None:
    assert len(v1.rows("getUpdatedSeries", fromDate="14/01/2024")) == 23
    assert v1.get("getUpdatedSeries", fromDate="15/01/2024").content == b""
    assert v1.get("getUpdatedSeries", fromDate="2024-01-01").content == b""
    assert len(v4.rows("getUpdatedSeries", fromDate="01-14-2024")) == 23
    new = v1.rows("NewPatientsInCollection", Collection="DEMO-CT", Date="2024/01/15")
    assert len(new) == 4
    studies = v4.rows("NewStudiesInPatientCollection", Collection="DEMO-CT", fromDate="01-15-2024")
    assert len(studies) == 4


def test_metadata_of_v4_has_forty_columns_and_leaves_unknown_series_out(v4: Client) -> None:
    response = v4.post("getSeriesMetadata", list=f"{FIVE_SLICES},1.2.3")
    header, row = csv.reader(response.text.splitlines())
    assert len(header) == 40
    assert row[header.index("PixelSpacing(mm)-Row")] == "0.488281"
    assert "attachment" in response.headers["Content-Disposition"]
    (same,) = v4.post("getSeriesMetadata", list=FIVE_SLICES, format="JSON").json()
    assert same["FileSize"] == 19682


def test_metadata_of_v1_is_all_strings_and_204_where_unknown(v1: Client) -> None:
    (row,) = v1.rows("getSeriesMetaData", SeriesInstanceUID=FIVE_SLICES)
    assert (row["File Size"], row["Number of Images"]) == ("19682", "5")
    assert all(isinstance(value, str) for value in row.values())
    assert v1.get("getSeriesMetaData", SeriesInstanceUID="1.2.3").status_code == 204


def test_a_shared_cart_lists_its_series(v1: Client) -> None:
    (row,) = v1.rows("getContentsByName", name="nbia-7")
    assert (row["SeriesInstanceUID"], list(row)[-1]) == (FIVE_SLICES, "Date Released")


def test_denied_series_are_those_not_there(v4: Client) -> None:
    assert v4.get("getDeniedSeries", seriesList=FIVE_SLICES).status_code == 204
    assert "1.2.3" in v4.get("getDeniedSeries", seriesList=f"{FIVE_SLICES},1.2.3").text


def test_descriptions_tags_counts_and_manifest(v4: Client) -> None:
    assert v4.rows("getCollectionDescriptions", collectionName="demo-ct")[0]["id"] == 1
    assert v4.rows("getCollectionDescriptions", collectionName="nobody") == []
    tags = v4.rows("getDicomTags", SeriesUID=FIVE_SLICES)
    assert {"element": "(0008,0060)", "name": "Modality", "data": "CT"} in tags
    assert {"criteria": "CR", "count": "1"} in v4.rows("getModalityValuesAndCounts")
    manifest = v4.post("getManifestText", list=FIVE_SLICES, includeAnnotation="true").text
    assert manifest.endswith(f"ListOfSeriesToDownload=\n{FIVE_SLICES}\n")
