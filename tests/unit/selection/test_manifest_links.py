"""Manifests in archives, and manifests that lead to others: Croissant, XML, addresses."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from tcia_covid.core.errors import ManifestError
from tcia_covid.selection.manifests import read as reading
from tcia_covid.selection.manifests.read import read_manifest
from tests.unit.selection.manifest_files import DATA, SERIES, A, found, read, refusal


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
        damaged = refusal(tmp_path, "a.gz", packed[:-20])
        assert "is a damaged gzip file" in damaged.message
        assert "again" in damaged.hint
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
