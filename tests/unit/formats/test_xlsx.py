"""Workbooks: which cells are read, and which files are refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tcia_covid.formats import xlsx
from tcia_covid.formats.xlsx import Workbook, XlsxError

DATA = Path(__file__).parents[2] / "data" / "manifests" / "spreadsheet.xlsx"
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
OFFICE = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
RELATIONS = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'


def workbook(*sheets: str, shared: str | None = None, **parts: str) -> Workbook:
    return Workbook(io.BytesIO(workbook_file(*sheets, shared=shared, **parts)))


def workbook_file(*sheets: str, shared: str | None = None, **parts: str) -> bytes:
    """A workbook whose sheets have these rows in XML."""
    numbers = range(1, len(sheets) + 1)
    listed = "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
    relations = "".join(
        f'<Relationship Id="rId{n}" Target="worksheets/sheet{n}.xml"/>' for n in numbers
    )
    files = {
        "xl/workbook.xml": f"<workbook {MAIN} {OFFICE}><sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f"<Relationships {RELATIONS}>{relations}</Relationships>",
        **{
            f"xl/worksheets/sheet{n}.xml": text
            if text.startswith("<?")
            else f"<worksheet {MAIN}><sheetData>{text}</sheetData></worksheet>"
            for n, text in zip(numbers, sheets, strict=True)
        },
        **parts,
    }
    if shared is not None:
        files["xl/sharedStrings.xml"] = f"<sst {MAIN}>{shared}</sst>"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def rows(book: Workbook, sheet: str = "S1") -> list[tuple[int, list[str]]]:
    return list(book.rows(book.sheets()[sheet]))


def test_a_workbook_of_a_spreadsheet_program() -> None:
    with DATA.open("rb") as file:
        book = Workbook(file)
        assert book.sheets() == {"Sheet": "xl/worksheets/sheet1.xml"}
        (number, header), *others = rows(book, "Sheet")
    assert (number, header[0], len(others)) == (1, "SeriesInstanceUID", 4)


def test_text_numbers_and_gaps() -> None:
    text = """
        <row r="2"><c r="B2" t="s"><v>1</v></c><c r="D2"><v>12</v></c></row>
        <row><c t="inlineStr"><is><r><t>in</t></r><r><t>line</t></r></is></c><c/></row>
        <row r="9"><c r="A9" t="str"><f>"1"&amp;"2"</f><v>12</v></c></row>
        <row r="10"/>
        <row r="11"><c r="A11" t="s"><v>7</v></c><c r="ZZZ11"><v>far</v></c></row>
    """
    shared = "<si><t>zero</t></si><si><r><t>o</t></r><r><t>ne</t></r><rPh><t>x</t></rPh></si>"
    assert rows(workbook(text, shared=shared)) == [
        (2, ["", "one", "", "12"]),
        (3, ["inline"]),
        (9, ["12"]),
        (11, [""]),
    ]


def test_other_prefixes_and_absolute_targets() -> None:
    sheet = (
        '<?xml version="1.0"?><x:worksheet xmlns:x="http://schemas.openxmlformats.org/spreadsheetml'
        '/2006/main"><x:sheetData><x:row r="1"><x:c r="A1"><x:v>1</x:v></x:c></x:row>'
        "</x:sheetData></x:worksheet>"
    )
    relations = (
        f'<Relationships {RELATIONS}><Relationship Id="rId1" Target="/xl/worksheets/sheet1.xml"/>'
        "</Relationships>"
    )
    book = workbook(sheet, **{"xl/_rels/workbook.xml.rels": relations})
    assert rows(book) == [(1, ["1"])]


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]>'


@pytest.mark.parametrize(
    ("sheet", "complaint"),
    [
        (f'<?xml version="1.0"?>{BOMB}<a>&c;</a>', "document type definition"),
        ('<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "type definition"),
        ("<row><c><v>1</v></c>", "sheet1.xml of the workbook is damaged: mismatched tag"),
        ("<c>" * 100_000, "is damaged"),
        ('<row><c t="s"><v>&c;</v></c></row>', "is damaged: undefined entity"),
    ],
)
def test_hostile_and_damaged_sheets_are_refused(sheet: str, complaint: str) -> None:
    book = workbook(sheet)
    with pytest.raises(XlsxError, match=complaint):
        rows(book)


def test_a_sheet_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    book = workbook(" " * 3_000_000)
    monkeypatch.setattr(xlsx, "MAX_PART", 2 << 20)
    with pytest.raises(XlsxError, match=r"sheet1\.xml of the workbook has more than 2 MiB"):
        rows(book)


def test_files_that_are_no_workbook_are_refused() -> None:
    with pytest.raises(XlsxError, match="the workbook is damaged: File is not a zip file"):
        Workbook(io.BytesIO(b"PK\x03\x04"))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(XlsxError, match=r"the workbook has no xl/_rels/workbook\.xml\.rels"):
        Workbook(out).sheets()
    book = workbook("<row/>")
    with pytest.raises(XlsxError, match=r"has no xl/other\.xml"):
        list(book.rows("xl/other.xml"))
