"""Files are recognized by their first bytes, and text is not taken for anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.formats.signatures import describe, is_web_page

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"%PDF-1.4", "a PDF document"),
        (b"\0" * 128 + b"DICM", "a DICOM file"),
        (rb"{\rtf1 1.2.3}", "an RTF document"),
        (b"From: a@b.c\r\nSubject: series\r\n\r\n1.2.3\r\n", "a saved e-mail"),
        (b"Received: by c.d\n\tfor e\nMessage-ID: <1>\n", "a saved e-mail"),
        (b"x" * 257 + b"ustar\0", "a tar archive"),
        (b"  \n<html lang='en'>", "a web page (HTML)"),
        (b"<!doctype HTML><input type=password>", "a login page"),
        (b"<html><a>Log in</a>", "a login page"),
    ],
)
def test_files_are_recognized(head: bytes, name: str) -> None:
    assert describe(head) == name


@pytest.mark.parametrize(
    "head", [b"", b"1.2.3\n", b"PK\x03\x04", b"\x1f\x8b", b"<?xml?>", b"DICM", b"Date: 2021\n1.2\n"]
)
def test_text_and_archives_are_not(head: bytes) -> None:
    assert describe(head) == ""
    assert not is_web_page(head)


def test_the_text_files_of_this_project_are_not() -> None:
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "pyproject.toml"):
        assert describe(path.read_bytes()) == ""
