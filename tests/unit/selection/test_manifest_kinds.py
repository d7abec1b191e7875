"""Each kind of file that users give as a manifest, and the messages of those refused."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from tcia_covid.core.errors import ManifestError
from tcia_covid.selection.manifests.read import read_manifest
from tests.unit.formats.test_xlsx import workbook_file
from tests.unit.selection.manifest_files import (
    ADDRESSES,
    DATA,
    NAME,
    SERIES,
    STUDY,
    UUIDS,
    A,
    B,
    cells,
    found,
    read,
    refusal,
)


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
