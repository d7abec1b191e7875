"""Each kind of file that users give as a manifest, and the messages of those refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import threading
import time
import zipfile
from pathlib import Path

import pytest

from tcia_covid.core.errors import ManifestError
from tcia_covid.selection.manifests import read as reading
from tcia_covid.selection.manifests.model import Manifest
from tcia_covid.selection.manifests.read import read_manifest
from tests.unit.formats.test_xlsx import workbook_file

DATA = Path(__file__).parents[2] / "data" / "manifests"
SERIES = (
    "1.3.6.1.4.1.14519.5.2.1.9999.103.2772748514240373421475911810044",
    "1.3.6.1.4.1.14519.5.2.1.9999.103.2226892066207840840424092100046",
    "1.3.6.1.4.1.14519.5.2.1.9999.103.7910615066871902088015121404116",
    "1.2.826.0.1.3680043.10.474.419639.268029058780754319822209542539",
)
"""The four series of most files in `tests/data/manifests`."""
A, B = SERIES[:2]
STUDY = "1.3.6.1.4.1.14519.5.2.1.9999.103.1990954697724761389044939165366"
NAME = "SeriesInstanceUID"
UUIDS = (
    "35823972-03f1-41e3-8ab2-418c862ec07c",
    "4bb40671-01d6-4d50-acd7-86381b3de21e",
    "852b3536-b956-4a44-971c-1502ec6c4db2",
    "841e50fe-8693-45b1-b84e-0ea7ec4e7015",
)
ADDRESSES = tuple(f"s3://idc-open-data{'-cr' if uuid == UUIDS[3] else ''}/{uuid}" for uuid in UUIDS)


def read(folder: Path, name: str, content: str | bytes, **options: object) -> Manifest:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_manifest(path, **options)  # type: ignore[arg-type]


def found(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    return {kind: tuple(values) for kind, values in manifest.identifiers.items()}


def refusal(folder: Path, name: str, content: str | bytes) -> ManifestError:
    with pytest.raises(ManifestError) as raised:
        read(folder, name, content)
    return raised.value


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("no-list-line.tcia", "TCIA manifest", {"series": SERIES}),
        ("idc-portal.s5cmd", "s5cmd manifest", {"address": ADDRESSES}),
        ("s3-urls.txt", "s5cmd manifest", {"address": ADDRESSES}),
        ("idc-portal-preamble.csv", "CSV", {"series": SERIES}),
        ("getSeries.json", "JSON", {"series": SERIES}),
        ("lines.jsonl", "JSON", {"series": SERIES}),
        ("excel-sep.csv", "CSV", {"series": SERIES}),
        ("no-header.csv", "CSV", {"word": SERIES}),
        ("dicom-tag-column.csv", "CSV", {"series": SERIES}),
        ("spreadsheet.xlsx", "Excel workbook", {"series": SERIES}),
        (
            "patients.txt",
            "plain list",
            {"word": ("COVID-19-AR-16406488", "MIDRC-RICORD-1C-419639-000002")},
        ),
    ],
)
def test_each_kind_of_file_is_read(
    name: str, kind: str, expected: dict[str, tuple[str, ...]]
) -> None:
    manifest = read_manifest(DATA / name)
    assert manifest.format == kind
    assert found(manifest) == expected


def test_a_uid_that_is_too_long_is_shown_completely_with_its_length() -> None:
    with pytest.raises(ManifestError) as raised:
        read_manifest(DATA / "long-uid.txt")
    assert f"'{A}.1234567' is not a UID: it has 72 characters, and a UID at most 64" in str(
        raised.value
    )


class TestLists:
    @pytest.mark.parametrize("line", [f"P1 {A} CT", f"- {A}", f"/data/{A}/1-1.dcm"])
    def test_a_line_with_more_than_a_uid_is_refused_with_what_to_leave(
        self, tmp_path: Path, line: str
    ) -> None:
        error = refusal(tmp_path, "a.txt", line)
        assert "line 1 (plain list)" in error.message
        assert error.hint == f"a list has one of these per line, and nothing else: here only {A}"

    def test_sentences_are_refused_before_any_look_up(self, tmp_path: Path) -> None:
        text = "Dear colleague,\nthe images that we discussed are on our server.\n"
        error = refusal(tmp_path, "mail.txt", text)
        assert "line 2 (plain list): 'the images that we discussed" in error.message
        assert error.hint == "a list has one of these per line, and nothing else"

    @pytest.mark.parametrize("text", [f"['{A}', '{B}']", f"\n [\n '{A}',\n '{B}',\n]\n"])
    def test_a_list_in_python_is_read(self, tmp_path: Path, text: str) -> None:
        assert found(read(tmp_path, "list.txt", text)) == {"word": (A, B)}

    @pytest.mark.parametrize("rule", ["|---|---|", "| :--- | ---: |"])
    def test_a_table_in_markdown_is_read(self, tmp_path: Path, rule: str) -> None:
        text = f"Our series:\n\n| {NAME} | Modality |\n{rule}\n| {A} | CT |\n| {B} | CR |\n"
        assert read(tmp_path, "list.md", text).series == (A, B)

    def test_every_form_of_a_bucket_address_names_the_folder(self, tmp_path: Path) -> None:
        text = f"""
            s5cmd --no-sign-request cp "s3://idc-open-data/{UUIDS[0]}/*" out/
            aws s3 cp --no-sign-request --recursive s3://idc-open-data/{UUIDS[1]}/ s3://mine/x/
            gsutil -m cp -r gs://idc-open-cr/{UUIDS[2]}/ .
            S3://idc-open-data-cr/{UUIDS[3]}/0fd6cc33-5ba1-4c29-ac0e-b780fcf77446.dcm  # one image
            https://idc-open-data.s3.amazonaws.com/{UUIDS[0]}/x.dcm
            https://storage.googleapis.com/idc-open-cr/{UUIDS[2]}
            {UUIDS[0].upper()}
        """
        assert found(read(tmp_path, "a.txt", text)) == {
            "crdc_series_uuid": UUIDS[:1],
            "address": (ADDRESSES[0], ADDRESSES[1], f"gs://idc-open-cr/{UUIDS[2]}", ADDRESSES[3]),
        }

    def test_lines_are_numbered_as_in_the_file(self, tmp_path: Path) -> None:
        manifest = read(tmp_path, "a.s5cmd", f"# one\n\ncp s3://b/{UUIDS[0]}/* .\n")
        assert manifest.identifiers == {"address": {f"s3://b/{UUIDS[0]}": 3}}

    @pytest.mark.parametrize("text", ["!" * 5_000_000 + " s3://b", "<URL " * 1_000_000])
    @pytest.mark.parametrize("name", ["a.txt", "a.xml"])
    def test_long_lines_are_searched_in_linear_time(
        self, tmp_path: Path, name: str, text: str
    ) -> None:
        started = time.process_time()
        refusal(tmp_path, name, text)
        assert time.process_time() - started < 5

    def test_names_with_spaces_are_one_entry(self, tmp_path: Path) -> None:
        words = found(read(tmp_path, "a.txt", f"CT Images in COVID-19, A 1\n{A} {B}\n"))["word"]
        assert words == ("CT Images in COVID-19", "A 1", A, B)

    @pytest.mark.parametrize("end", ["\0", "\0\0\0", "\x1a", "\r\n\x1a\r\n"])
    @pytest.mark.parametrize("name", ["a.tcia", "a.txt", "a.csv", "a.json"])
    def test_what_follows_the_end_of_a_text_is_ignored(
        self, tmp_path: Path, name: str, end: str
    ) -> None:
        texts = {"a.csv": f"SeriesInstanceUID\n{A}\n", "a.json": f'["{A}"]'}
        (values,) = found(read(tmp_path, name, texts.get(name, f"{A}\n") + end)).values()
        assert values == (A,)

    @pytest.mark.parametrize("version", ["1.0", "2.0", "3.0", "4.0"])
    def test_tcia_manifests_of_any_version_with_comments(
        self, tmp_path: Path, version: str
    ) -> None:
        text = f"# cart\nmanifestVersion={version}\nnewKey=1.2\n# list\n{A}  # first\n"
        manifest = read(tmp_path, "a.tcia", text)
        assert found(manifest) == {"series": (A,)}
        assert manifest.identifiers["series"][A] == 5

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no /dev/fd")
    def test_a_pipe_is_read(self) -> None:
        reader, writer = os.pipe()
        thread = threading.Thread(target=lambda: (os.write(writer, A.encode()), os.close(writer)))
        thread.start()
        with os.fdopen(reader, "rb"):
            assert found(read_manifest(f"/dev/fd/{reader}")) == {"word": (A,)}
        thread.join()


class TestTables:
    @pytest.mark.parametrize(
        "header",
        [
            "SeriesInstanceUID", "series_instance_uid", "Series Instance UID", "seriesuid",
            "Series UID", "SERIES-INSTANCE-UID", "SeriesInstanceUID_x", "SeriesInstanceUID.1",
            "Series Instance UID (0020,000e)", "Series Instance UID (0020|000E)", "0020000E",
            '"(0020,000e)"', "\ufeffSeriesInstanceUID",
        ],
    )  # fmt: skip
    def test_the_column_has_many_names(self, tmp_path: Path, header: str) -> None:
        text = f"Modality,{header}\nCT,{A}\nCT,{B}\n"
        assert found(read(tmp_path, "a.csv", text)) == {"series": (A, B)}

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-16-be"])
    def test_encodings(self, tmp_path: Path, encoding: str) -> None:
        text = f"Körper,SeriesInstanceUID\nSchädel,{A}\n"
        assert found(read(tmp_path, "a.csv", text.encode(encoding))) == {"series": (A,)}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (f'SeriesInstanceUID\n="{A}"\n"=""{B}"""\n', {"series": (A, B)}),
            (
                f"SeriesInstanceUID,N\n{A},1\nSeriesInstanceUID,N\nN,SeriesInstanceUID\n2,{B}\n",
                {"series": (A, B)},
            ),
            (f"N,SeriesInstanceUID\n1,{A}\n\nTotal,1\n,\nGrand total,\n", {"series": (A,)}),
            (f"SeriesInstanceUID\n{A}\nTotal: 1 series\n", {"series": (A,)}),
            (
                f"StudyInstanceUID,SeriesInstanceUID\n{STUDY},{A}\n{STUDY},nan\n",
                {"series": (A,), "study": (STUDY,)},
            ),
            (f"crdc_series_uuid,Modality\n{UUIDS[0]},CT\n", {"crdc_series_uuid": UUIDS[:1]}),
            (f"series_aws_url\ns3://idc-open-data/{UUIDS[0]}/*\n", {"address": ADDRESSES[:1]}),
            (f"PatientID,StudyInstanceUID\nP1,{STUDY}\n", {"study": (STUDY,)}),
            ("Patient ID;Age\nP1;70\n'=P2;71\n'-P3;71\n", {"patient": ("P1", "=P2", "-P3")}),
            ("patient_id\n12\nP 2\n", {"patient": ("12", "P 2")}),
            (f"# exported\nSeriesInstanceUID\n# more\n{A}\n", {"series": (A,)}),
            (f"x|SeriesInstanceUID\n1|{A}\n", {"series": (A,)}),
            (f'"sep=;"\na;SeriesInstanceUID\n"1,2";{A}\n', {"series": (A,)}),
            (f"uuid list\n{UUIDS[0]},CT\n".partition("\n")[2], {"crdc_series_uuid": UUIDS[:1]}),
        ],
        ids=[
            "formulas", "repeated header", "totals", "total in the column", "study of a row",
            "UUIDs", "addresses", "study before patient", "patients", "patient numbers",
            "comments", "pipes", "separator line", "no header",
        ],
    )  # fmt: skip
    def test_rows(self, tmp_path: Path, text: str, expected: dict[str, tuple[str, ...]]) -> None:
        assert found(read(tmp_path, "a.csv", text)) == expected

    def test_one_kind_can_be_selected(self, tmp_path: Path) -> None:
        text = f"PatientID,SeriesInstanceUID\nP1,{A}\nP1,{B}\n"
        assert found(read(tmp_path, "a.csv", text, only="patient")) == {"patient": ("P1",)}
        as_json = json.dumps([{"PatientID": "P1", "SeriesInstanceUID": A}])
        assert found(read(tmp_path, "a.json", as_json, only="patient")) == {"patient": ("P1",)}

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            (
                "a,b\n1,2\n",
                "line 1 (CSV): no column names series, studies or patients; the columns",
            ),
            ("a,b\n1,2\n", "the columns are 'a', 'b'"),
            (f"{A},{B}\n", "line 1 (CSV): the table has no header, and UIDs in the columns 1 and"),
            (f"N,{NAME}\nx,{A}\ny,\n", f"line 3 (CSV, column {NAME}): no {NAME} in this row: 'y'"),
            (f"N,{NAME}\nx,{A}\ny,z\n", f"line 3 (CSV, column {NAME}): 'z' is not a {NAME}: char"),
            (f'N,{NAME}\nx,{A}\n"y,{B}\n', "line 3 (CSV): unexpected end of data"),
            (f"{NAME}\n{'1' * 200_000}\n", "line 2 (CSV): field larger than"),
            (f"{NAME}\n1.36145E+10\n", "a spreadsheet turned it into a number"),
            ("crdc_series_uuid\n12\n", "'12' is not a UUID, as crdc_series_uuid is"),
            (f"{NAME},x\n", "a.csv (CSV) names no series"),
        ],
    )
    def test_refusals(self, tmp_path: Path, text: str, complaint: str) -> None:
        assert complaint in str(refusal(tmp_path, "a.csv", text))

    def test_a_line_with_a_million_cells_is_refused(self, tmp_path: Path) -> None:
        text = f"{NAME}\n{A}\n" + "," * 1_100_000
        complaint = f"line 3 (CSV, column {NAME}): it has 1100000 characters"
        assert complaint.replace(f", column {NAME}", "") in str(refusal(tmp_path, "a.csv", text))

    @pytest.mark.parametrize(
        ("column", "hint"),
        [
            ("drs_uri", "DRS objects"),
            ("imageUrl", "pathology"),
            ("SOPInstanceUID", "single images"),
        ],
    )
    def test_columns_of_other_things_are_named(
        self, tmp_path: Path, column: str, hint: str
    ) -> None:
        assert hint in refusal(tmp_path, "a.csv", f"name,{column}\nx,y\n").hint


class TestDocuments:
    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ([A, B], {"word": (A, B)}),
            ([{"SeriesInstanceUID": A}, {"SeriesInstanceUID": B}], {"series": (A, B)}),
            ([{"Series UID": A}, {"seriesuid": B}], {"series": (A, B)}),
            ({"SERIES_INSTANCE_UID": [A, B]}, {"series": (A, B)}),
            ({"N": {"0": 1, "1": 2}, NAME: {"0": A, "1": B}}, {"series": (A, B)}),
            ({"data": {"rows": [{"SeriesInstanceUID": A, "StudyInstanceUID": STUDY}]}},
             {"series": (A,)}),
            ([{"PatientID": "P1", "studies": [{"SeriesInstanceUID": A}]}], {"series": (A,)}),
            ([{"Collection": "C", "PatientID": "P1", "StudyInstanceUID": STUDY, "SeriesCount": 2}],
             {"study": (STUDY,)}),
            ([{"Collection": "C", "PatientId": "P1", "PatientName": "P1"}], {"patient": ("P1",)}),
            ([{"crdc_series_uuid": UUIDS[0]}], {"crdc_series_uuid": UUIDS[:1]}),
            ({"command": "series", "series": [{"SeriesInstanceUID": A, "StudyInstanceUID": STUDY}],
              "failures": [{"SeriesInstanceUID": B, "reason": "not-available"}]},
             {"series": (A, B)}),
        ],
        ids=[
            "UIDs", "objects", "other names", "a list in an object", "pandas", "nested", "patient",
            "getStudy", "getPatient", "UUIDs", "own document",
        ],
    )  # fmt: skip
    def test_json(
        self, tmp_path: Path, content: object, expected: dict[str, tuple[str, ...]]
    ) -> None:
        for text in (json.dumps(content), json.dumps(content, indent=1)):
            assert found(read(tmp_path, "a.json", text)) == expected

    def test_lines_are_those_of_the_file(self, tmp_path: Path) -> None:
        text = json.dumps({"series": [{"SeriesInstanceUID": uid} for uid in (A, B)]}, indent=1)
        manifest = read(tmp_path, "a.json", text)
        assert manifest.identifiers["series"] == {A: 4, B: 7}
        bad = text.replace(B, "1.2.x")
        assert "line 7 (JSON): '1.2.x' is not" in str(refusal(tmp_path, "a.json", bad))

    def test_escaped_values_are_read_without_searching_for_each(self, tmp_path: Path) -> None:
        rows = ",".join(f'{{"{NAME}": "\\u0031.2.{number}"}}' for number in range(20_000))
        started = time.process_time()
        manifest = read(tmp_path, "a.json", f'{{"rows": [{rows}]}}')
        assert len(manifest.series) == 20_000
        assert time.process_time() - started < 5

    def test_json_lines_may_be_joined_files(self, tmp_path: Path) -> None:
        text = f'{{"SeriesInstanceUID": "{A}"}}\n\n{{"SeriesInstanceUID": "{B}"}}\n'
        assert read(tmp_path, "a.jsonl", text).identifiers["series"] == {A: 1, B: 3}

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ('{"a": 1,\n "b": }', "line 2 (JSON): not JSON: Expecting value at '}'"),
            (f'["{A}",\n', "line 2 (JSON): not JSON: the array does not end"),
            (f'["{A}', "line 1 (JSON): not JSON: Unterminated string starting at '"),
            ('{"a": [], "b": 2}', "a.json (JSON) names no series; its keys are 'a', 'b'"),
            ("[]", "a.json (JSON) names no series"),
            ("[" * 100_000, "a.json, line 1 (JSON): it is nested too deeply"),
            ('{"a":' * 60 + "1" + "}" * 60, "a.json, line 1 (JSON): it is nested too deeply"),
            ('{"SeriesInstanceUID": "1.2.3x"}', "'1.2.3x' is not a SeriesInstanceUID"),
        ],
    )
    def test_refusals(self, tmp_path: Path, text: str, complaint: str) -> None:
        assert complaint in str(refusal(tmp_path, "a.json", text))


class Web:
    """Addresses with their content, in place of the network."""

    def __init__(self, **content: bytes) -> None:
        self.content = {f"https://host/{name}": data for name, data in content.items()}
        self.asked: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        return self.content[url]


def file_object(name: str, **more: object) -> dict[str, object]:
    return {"@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": f"https://host/{name}",
            **more}  # fmt: skip


def croissant(*files: dict[str, object], **more: object) -> str:
    return json.dumps({"@type": "sc:Dataset", "name": "C", "distribution": files, **more})


def role(text: str) -> dict[str, object]:
    name = {"name": "TCIA download artifact role", "value": text}
    return {"additionalProperty": [{"@type": "PropertyValue", **name}]}


class TestCroissant:
    """The shapes are those of TCIA's examples: rows in the document, and columns of CSV files."""

    def test_the_manifest_of_a_description_is_read(self) -> None:
        web = Web()
        web.content["https://www.cancerimagingarchive.net/wp-content/uploads/covid-19-ar.tcia"] = (
            f"ListOfSeriesToDownload=\n{A}\n".encode()
        )
        manifest = read_manifest(DATA / "croissant.jsonld", fetch=web)
        assert manifest.format == "Croissant"
        assert found(manifest) == {"series": (A,)}

    def test_rows_lead_to_manifests(self, tmp_path: Path) -> None:
        row = {
            "d-1/download_url": "https://host/list.csv",
            "d-1/file_object_id": "list.csv",
            "d-1/download_artifact_role": "manifest",
            "d-1/access_mechanism": "TCIA Data Retriever",
        }
        record_set = {"@type": "cr:RecordSet", "@id": "d-1", "name": "Images", "data": [row]}
        text = croissant(file_object("list.csv"), recordSet=[record_set])
        web = Web(**{"list.csv": f"SeriesInstanceUID\n{A}\n".encode()})
        assert found(read(tmp_path, "a.json", text, fetch=web)) == {"series": (A,)}
        assert web.asked == ["https://host/list.csv"]

    def test_record_sets_name_the_columns_of_a_file(self, tmp_path: Path) -> None:
        content = f"PatientID,SeriesInstanceUID\nP1,{A}\n".encode()
        sha256 = hashlib.sha256(content).hexdigest()
        field = {
            "@type": "cr:Field",
            "name": "SeriesInstanceUID",
            "source": {
                "fileObject": {"@id": "series.csv"},
                "extract": {"column": "SeriesInstanceUID"},
            },
        }
        records = {"@type": "cr:RecordSet", "field": [field]}
        text = croissant(file_object("series.csv", sha256=sha256), recordSet=records)
        web = Web(**{"series.csv": content})
        assert found(read(tmp_path, "a.jsonld", text, fetch=web)) == {"series": (A,)}
        web.content["https://host/series.csv"] += b"\n"
        with pytest.raises(ManifestError, match="not the file that was described: its SHA-256 is"):
            read(tmp_path, "a.jsonld", text, fetch=web)

    def test_what_is_not_a_list_of_series_is_named_as_what_it_is(self, tmp_path: Path) -> None:
        drs_field = {"source": {"fileObject": {"@id": "c.csv"}, "extract": {"column": "drs_uri"}}}
        files = [
            file_object("a.tcia", **role("manifest")),
            {**file_object("b"), "contentUrl": "https://faspex.host/?context=secret"},
            file_object("c.csv", **role("manifest")),
            {**file_object("d"), "contentUrl": "drs://dg.4DFC:1"},
            file_object("e.csv", **role("manifest controlled")),
            file_object("clinical.xlsx", **role("data file")),
        ]
        files[4] = file_object("e.csv", additionalProperty=[
            {"name": "TCIA download artifact role", "value": "manifest"},
            {"name": "TCIA access level", "value": "controlled"}])  # fmt: skip
        text = croissant(*files, recordSet=[{"field": [drs_field]}])
        web, account = Web(**{"a.tcia": A.encode()}), "which need an account at the NCI"
        manifest = read(tmp_path, "a.jsonld", text, fetch=web)
        assert found(manifest) == {"series": (A,)}
        assert manifest.notices == (
            "'b' is an Aspera package (https://faspex.host/), for IBM's Aspera client",
            f"'c.csv' is a list of DRS objects (https://host/c.csv), {account}",
            f"'d' is a list of DRS objects (drs://dg.4DFC:1), {account}",
            "'e.csv' is under controlled access (https://host/e.csv)",
            "'clinical.xlsx' is not a list of series (https://host/clinical.xlsx)",
        )
        alone = croissant(files[1])
        assert "is an Aspera package" in refusal(tmp_path, "b.jsonld", alone).hint

    def test_the_number_of_files_is_bounded(self, tmp_path: Path) -> None:
        names = [f"{number}.tcia" for number in range(51)]
        web = Web(**dict.fromkeys(names, A.encode()))
        text = croissant(*map(file_object, names))
        with pytest.raises(ManifestError, match="leads to more than 50 others"):
            read(tmp_path, "a.json", text, fetch=web)
        assert len(web.asked) == 50

    def test_a_description_that_leads_to_itself_ends(self, tmp_path: Path) -> None:
        text = croissant(file_object("a.json", **role("manifest")))
        with pytest.raises(ManifestError, match="nested too deeply"):
            read(tmp_path, "a.json", text, fetch=Web(**{"a.json": text.encode()}))


@pytest.mark.parametrize("around", ["\u00a0{}\u00a0", "\u200b{}\u200b", "\ufeff{}"])
def test_invisible_characters_around_an_identifier_are_ignored(tmp_path: Path, around: str) -> None:
    text = "\n".join(map(around.format, (A, B)))
    assert found(read(tmp_path, "a.txt", text)) == {"word": (A, B)}
    assert found(read(tmp_path, "a.csv", f"{around.format(NAME)},n\n{text},1\n")) == {
        "series": (A, B)
    }


def test_quotes_of_word_processors_are_ignored(tmp_path: Path) -> None:
    text = f"\u201c{A}\u201d,\n\u2018{B}\u2019"
    assert found(read(tmp_path, "a.txt", text)) == {"word": (A, B)}


class TestPackedAndFetched:
    def test_xml_leads_to_a_manifest(self) -> None:
        web = Web()
        url = "https://www.cancerimagingarchive.net/wp-content/uploads/manifest.tcia"
        web.content[url] = (DATA / "no-list-line.tcia").read_bytes()
        assert found(read_manifest(DATA / "xml.tcia", fetch=web)) == {"series": SERIES}
        with pytest.raises(ManifestError, match="is not read from here"):
            read_manifest(DATA / "xml.tcia")

    @pytest.mark.parametrize("name", ["no-list-line.tcia", "getSeries.json", "spreadsheet.xlsx"])
    def test_gzip_and_zip(self, tmp_path: Path, name: str) -> None:
        content = (DATA / name).read_bytes()
        packed = read(tmp_path, f"{name}.gz", gzip.compress(content))
        assert found(packed) == {"series": SERIES}
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("__MACOSX/._x", b"\0\1")
            archive.writestr("folder/", b"")
            archive.writestr(f"folder/{name}", content)
            archive.writestr("more.txt", "P1\n")
        assert found(read(tmp_path, "a.zip", out.getvalue())) == {
            "series": SERIES,
            "word": ("P1",),
        }

    def test_an_address_is_read_by_its_content(self) -> None:
        web = Web(list=(DATA / "spreadsheet.xlsx").read_bytes())
        manifest = read_manifest("https://host/list", fetch=web)
        assert found(manifest) == {"series": SERIES}
        assert manifest.name == "https://host/list"

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"\xef\xbb\xbf \n<!DOCTYPE html><html><p>Moved", "a web page (HTML)"),
            (b"<html><form><input type='password'>", "a login page"),
            (b"<HTML><title>Sign in</title>", "a login page"),
            (b"%PDF-1.7\n%\xe2", "a PDF document"),
            (b"\0" * 128 + b"DICM\2\0", "a DICOM file"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Office document (.xls or .doc)"),
            (b"\x89PNG\r\n\x1a\n", "a PNG image"),
            (b"PAR1\x15\x04", "a Parquet file"),
        ],
    )
    @pytest.mark.parametrize("name", ["a.tcia", "a.csv", "a.json"])
    def test_the_message_names_the_type_of_other_files(
        self, tmp_path: Path, name: str, content: bytes, what: str
    ) -> None:
        error = refusal(tmp_path, name, content)
        assert error.message == f"{tmp_path / name} is {what}, not a manifest"
        assert "a manifest is a .tcia, .s5cmd, CSV" in error.hint

    @pytest.mark.parametrize(
        ("member", "what"),
        [
            ("xl/workbook.bin", "a binary Excel workbook (.xlsb)"),
            ("word/document.xml", "a Word document"),
            ("META-INF/manifest.xml", "an OpenDocument file (.ods, .odt)"),
        ],
    )
    def test_documents_that_are_zips_are_named(
        self, tmp_path: Path, member: str, what: str
    ) -> None:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("content.xml", "<a/>")
            archive.writestr(member, "<a/>")
        error = refusal(tmp_path, "a.xlsx", out.getvalue())
        assert error.message == f"{tmp_path / 'a.xlsx'} is {what}, not a manifest"

    def test_images_in_a_zip_are_named(self, tmp_path: Path) -> None:
        images = Path(__file__).parents[2] / "data" / "getImage-complete.zip"
        with pytest.raises(ManifestError, match=r"\.dcm is a DICOM file, not a manifest"):
            read_manifest(images)

    def test_files_next_to_the_manifests_in_a_zip_are_named_and_not_read(
        self, tmp_path: Path
    ) -> None:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("export/README.txt", "Thank you for using the portal!\n")
            archive.writestr("export/LICENSE", "CC BY 4.0 (see the page)\n")
            archive.writestr("export/guide.pdf", b"%PDF-1.7\n")
            archive.writestr("export/a.tcia", f"ListOfSeriesToDownload=\n{A}\n")
        manifest = read(tmp_path, "a.zip", out.getvalue())
        assert found(manifest) == {"series": (A,)}
        (notice,) = manifest.notices
        assert "README.txt (text for readers), export/LICENSE (text for readers)" in notice
        assert "guide.pdf (a PDF document)" in notice

    def test_text_in_a_zip_that_names_no_series_is_refused(self, tmp_path: Path) -> None:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a.tcia", f"ListOfSeriesToDownload=\n{A}\n")
            archive.writestr("b.tcia", "ListOfSeriesToDownload=\nmistaken!\n")
        assert "a.zip:b.tcia, line 2" in str(refusal(tmp_path, "a.zip", out.getvalue()))

    def test_damaged_and_hostile_archives_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        packed = gzip.compress(A.encode() * 1000)
        assert "is a damaged gzip file" in str(refusal(tmp_path, "a.gz", packed[:-20]))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for number in range(101):
                archive.writestr(f"{number}.txt", A)
        assert "is a ZIP of 101 files" in str(refusal(tmp_path, "a.zip", out.getvalue()))
        monkeypatch.setattr(reading, "MAX_MANIFEST_SIZE", 2 << 20)
        bomb = b"\n" * (50 << 20)
        assert "larger than 2 MiB" in str(refusal(tmp_path, "a.gz", gzip.compress(bomb)))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.txt", bomb)
        assert "larger than 2 MiB" in str(refusal(tmp_path, "a.zip", out.getvalue()))
        nested = gzip.compress(gzip.compress(gzip.compress(gzip.compress(A.encode()))))
        assert "nested too deeply" in str(refusal(tmp_path, "a.gz", nested))


class TestWorkbooks:
    def test_the_first_sheet_with_a_known_column_is_read(self, tmp_path: Path) -> None:
        out = workbook_file(
            "<row><c><v>notes</v></c></row>", cells("a", "b"), cells("x", NAME, "1", A)
        )
        assert found(read(tmp_path, "a.xlsx", out)) == {"series": (A,)}

    def test_refusals_name_the_sheet(self, tmp_path: Path) -> None:
        bad = workbook_file(cells("N", NAME, "x", "1.2.x"))
        complaint = f"line 2 (Excel workbook, sheet S1, column {NAME}): '1.2.x' is not a {NAME}"
        assert complaint in str(refusal(tmp_path, "a.xlsx", bad))
        other = workbook_file(cells("a", "b", "1", "2"))
        complaint = "(Excel workbook, sheet S1): no column names series, studies or patients"
        assert complaint in str(refusal(tmp_path, "a.xlsx", other))
        hostile = workbook_file('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a/>')
        assert "document type definition" in str(refusal(tmp_path, "a.xlsx", hostile))


def cells(*values: str) -> str:
    """Rows of two cells."""
    pairs = zip(values[::2], values[1::2], strict=True)
    return "".join(
        f'<row><c t="str"><v>{first}</v></c><c t="str"><v>{second}</v></c></row>'
        for first, second in pairs
    )
