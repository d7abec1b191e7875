"""Names that are safe on every file system, and distinct for distinct originals."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_covid.core.safe_names import is_system_file, is_uid, safe_name, uid_problem

ANYTHING = st.text(st.characters(), max_size=90)
NEARLY_SAFE = st.text("ABCDEFX019.-_", min_size=1, max_size=70)
LIKE_TAGGED = st.from_regex(r"[A-Xa-x]{1,3}-[0-9A-Fa-f]{8}", fullmatch=True)
ORIGINALS = ANYTHING | NEARLY_SAFE | LIKE_TAGGED


@pytest.mark.parametrize(
    "name",
    [
        "COVID-19-AR-16406491",
        "A002304",
        "MIDRC-RICORD-1A-419639-000082",
        "1.2.826.0.1.3680043",
        "X_1",
        "CONSOLE",
        "COM10",
        "A" * 64,
    ],
)
def test_a_plain_identifier_is_unchanged(name):
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "original",
    [
        "",
        " ",
        ".",
        "..",
        "../../etc/passwd",
        "/absolute",
        "C:\\temp",
        "\\\\host\\share",
        "a\0b",
        "A\nB",
        "A B",
        "TRAILING.",
        "TRAILING ",
        "-rf",
        "_X",
        "lower",
        "Ümlaut",
        "患者",
        "con",
        "CON",
        "NUL.TXT",
        "COM1",
        "LPT9.DCM",
        "COM\u00b9",
        "METADATA.CSV",
        "LICENSE.TXT",
        "SUPPORTING",
        "THUMBS.DB",
        "A" * 65,
        "lone\ud800surrogate",
        "X-ABCD1234",
    ],
)
def test_other_names_get_a_tag(original):
    name = safe_name(original)

    digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*-[a-f][0-9a-f]{7}", name)
    assert name[-8:] in digest


def test_the_readable_part_stays_readable():
    assert safe_name("Jane Doe/#7").startswith("Jane_Doe_7-")
    assert safe_name("患者").startswith("unnamed-")


@given(ORIGINALS)
def test_names_are_safe_on_every_file_system(original):
    name = safe_name(original)

    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)
    assert len(name) <= 80
    assert name[-1] != "."
    assert not re.match(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", name, re.IGNORECASE)
    assert safe_name(original) == name


@given(ORIGINALS, ORIGINALS)
def test_distinct_originals_have_names_that_differ_in_more_than_case(name, other):
    if name != other:
        assert safe_name(name).casefold() != safe_name(other).casefold()


@given(ORIGINALS)
def test_generated_names_never_equal_unchanged_originals(original):
    name = safe_name(original)

    if name != original:
        for other in (name, name.upper(), name.casefold()):
            assert safe_name(other).casefold() != name.casefold()


@given(ORIGINALS)
def test_originals_that_differ_only_in_case_get_distinct_names(original):
    spellings = {original, original.upper(), original.lower(), original.swapcase()}

    assert len({safe_name(s).casefold() for s in spellings}) == len(spellings)


@pytest.mark.parametrize(
    "uid", ["1", "1.2.840.10008.1.2", "1.2.03.4", "2.25." + "9" * 39, "9" * 64, "0.0"]
)
def test_uids(uid):
    assert is_uid(uid)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "1.",
        ".1",
        "1..2",
        "1.2 ",
        "1.2\n",
        "1.2\0",
        "1/2",
        "1.a",
        "9" * 65,
        "\u0661.\u0662",
    ],
)
def test_invalid_uids(text):
    assert not is_uid(text)


@pytest.mark.parametrize(
    "name", ["Thumbs.db", "thumbs.DB", ".DS_Store", "@eaDir", "._1.dcm", ".nfs01"]
)
def test_system_files_are_recognized(name):
    assert is_system_file(name)


@pytest.mark.parametrize("name", ["1.2.3.dcm", "notes.txt", "nfs01", ".git", "DS_Store", "_1"])
def test_other_files_are_not_system_files(name):
    assert not is_system_file(name)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1.2.840", ""),
        ("1." * 31 + "11", ""),
        ("1." * 32 + "1", "it has 65 characters, and a UID at most 64"),
        ("1.2,3", "character ',' at position 4 is not a digit or a dot"),
        ("1.2\u0663", "character '\u0663' at position 4 is not a digit or a dot"),
        ("1.2..3", "a number is missing next to the dot at position 4"),
        (".1.2", "a number is missing next to the dot at position 1"),
        ("1.2.", "a number is missing next to the dot at position 4"),
        ("12", "it has no dot"),
        ("", "it has no dot"),
        ("1.3614E+10", "a spreadsheet turned it into a number, which has fewer digits"),
    ],
)
def test_the_problem_of_a_uid_is_reported(text: str, problem: str) -> None:
    assert uid_problem(text) == problem
    assert bool(problem) is not (is_uid(text) and "." in text)
