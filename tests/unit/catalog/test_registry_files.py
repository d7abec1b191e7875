"""Registry files of users: what they may omit, and how errors are reported."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tcia_covid.catalog.collections import Collection, Publication, Registry
from tcia_covid.catalog.registry import load_registry, shipped_file
from tcia_covid.core.errors import EXIT_REQUEST, RegistryError


@pytest.fixture(params=["libyaml", "pure Python"])
def either_parser(request, monkeypatch) -> None:
    if request.param == "pure Python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def found(registry: Registry, name: str) -> Collection:
    collection = registry.find(name)
    assert collection is not None, name
    return collection


# Files that are right


def test_a_collection_needs_a_format_and_nothing_else(tmp_path):
    path = write(tmp_path, "collections:\n  My Lungs:\n    format: dicom\n")
    mine = found(load_registry([path]), "my-lungs")
    assert (mine.name, mine.title, mine.format) == ("My Lungs", "My Lungs", "DICOM")
    assert mine.nbia == "My Lungs"
    assert (mine.doi, mine.license, mine.series, mine.size) == (None, None, None, None)
    assert mine.supporting == mine.modalities == ()


def test_null_means_that_nbia_does_not_have_a_collection(tmp_path):
    text = "collections:\n  A: {format: DICOM, nbia: null}\n  B: {format: NIfTI}\n"
    registry = load_registry([write(tmp_path, text)])
    assert found(registry, "A").nbia is None
    assert found(registry, "B").nbia is None


def test_added_collections_follow_the_shipped_ones(tmp_path):
    path = write(tmp_path, "collections: {Extra: {format: DICOM}}")
    shipped = [collection.name for collection in load_registry()]
    assert [collection.name for collection in load_registry([path])] == [*shipped, "Extra"]


def test_an_entry_replaces_a_shipped_one_completely(tmp_path):
    path = write(tmp_path, "collections: {covid-19-ar: {format: DICOM, series: 460}}")
    registry = load_registry([path])
    assert len(registry) == 6
    assert registry.collections[0].series == 460
    assert registry.collections[0].images is None
    assert registry.find("10.7937/TCIA.2020.PY71-5978") is None


def test_the_last_file_wins(tmp_path):
    paths = [
        write(tmp_path, f"collections: {{X: {{format: DICOM, series: {n}}}}}", f"{n}.yaml")
        for n in (1, 2)
    ]
    assert found(load_registry(paths), "x").series == 2


def test_a_citation_may_be_plain_text(tmp_path):
    path = write(tmp_path, "collections: {X: {format: DICOM, citation: Doe J (2024) X}}")
    assert found(load_registry([path]), "x").citation == Publication(text="Doe J (2024) X")


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path, either_parser):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xef\xbb\xbfcollections:\r\n  X:\r\n    format: DICOM\r\n    series: 3\r\n")
    assert found(load_registry([path]), "x").series == 3


def test_names_and_texts_may_be_in_any_script(tmp_path, either_parser):
    path = write(tmp_path, "collections: {Größe 肺: {format: DICOM, title: Лёгкие}}")
    assert found(load_registry([path]), "größe-肺").title == "Лёгкие"


# Broken files

ONE = "collections:\n  X:\n    format: DICOM\n"

BROKEN = {
    "a quote without end": (ONE + '    title: "open\n', 5, "not valid YAML"),
    "a tab for indentation": ("collections:\n\tX: 1\n", 2, "not valid YAML"),
    "a bracket without end": (ONE + "    aliases: [a, b\n", 5, "not valid YAML"),
    "an unknown anchor": (ONE + "    aliases: *nobody\n", 4, "not valid YAML"),
    "two documents": (ONE + "---\nmore: 1\n", 4, "not valid YAML"),
    "a control character": ("collections:\n  X: \x01\n", 2, "not valid YAML"),
    "a number for no character": (ONE + '    title: "\\U00110000"\n', 4, "not valid YAML"),
    "half a character": (ONE + '    title: "\\ud800"\n', 4, "not valid YAML"),
    "lists in lists": (ONE + "    aliases: " + "[" * 99 + "]" * 99, 4, "nested more than 32 deep"),
    "nothing": ("", 1, "the file is empty"),
    "only a comment": ("# nothing\n", 1, "the file is empty"),
    "a list": ("- X\n", 1, "the file must be a table of keys and values, not a list"),
    "no collections": ("tcia: {text: T}\n", 1, "the key 'collections' is missing in the file"),
    "collections as a list": ("collections:\n  - X\n", 2, "'collections' in the file must be"),
    "a collection that is text": ("collections:\n  X: y\n", 2, "X must be a table"),
    "a collection that is nothing": ("collections:\n  X:\n", 2, "X must be a table"),
    "a number for a name": ("collections:\n  12: {format: DICOM}\n", 2, "must be text, not a"),
    "an unknown key": (ONE + "    fromat: x\n", 4, "unknown key 'fromat' in X"),
    "an unknown key at the top": (ONE + "other: 1\n", 4, "unknown key 'other' in the file"),
    "an unknown key deeper": (
        ONE + "    idc:\n      bucket: b\n      buckets: c\n",
        6,
        "unknown key 'buckets' in 'idc' in X",
    ),
    "a merge key": (ONE + "    <<: {title: y}\n", 4, "key in X must be text"),
    "no format": ("collections:\n  X:\n    title: y\n", 3, "the key 'format' is missing in X"),
    "an unknown format": ("collections:\n  X:\n    format: PNG\n", 3, "DICOM, NIfTI, not 'PNG'"),
    "a number as text": (ONE + "    title: 12\n", 4, "'title' in X must be text, not a number"),
    "blank text": (ONE + "    title: ' '\n", 4, "'title' in X must not be empty"),
    "text as a number": (ONE + "    series: many\n", 4, "must be a whole number, not text (many)"),
    "a decimal number": (ONE + "    series: 1.5\n", 4, "not a decimal number (1.5)"),
    "a boolean as a number": (ONE + "    series: true\n", 4, "must be a whole number"),
    "a number in base 60": (ONE + "    series: 1:30\n", 4, "must be a whole number"),
    "a number of a thousand digits": (ONE + f"    series: {'9' * 1000}\n", 4, "whole number"),
    "a negative number": (ONE + "    images: 3\n    bytes: -1\n", 5, "must not be negative"),
    "a list as text": (ONE + "    title: [a]\n", 4, "must be text, not a list"),
    "text as a list": (ONE + "    modalities: CT\n", 4, "must be a list, not text (CT)"),
    "a number in a list": (ONE + "    modalities:\n    - CT\n    - 5\n", 6, "an entry of"),
    "a list within itself": (ONE + "    aliases: &a [*a]\n", 4, "must be text, not a list"),
    "a Python object": (ONE + "    title: !!python/name:os.system x\n", 4, "must be text"),
    "a key twice": (ONE + "    title: a\n    title: b\n", 5, "key 'title' is already in line 4"),
    "a collection twice": (ONE + "  X:\n    format: DICOM\n", 4, "key 'X' is already in line 2"),
    "a collection twice, other case": (ONE + "  x: {format: DICOM}\n", 4, "'x' of x already"),
    "an alias of two collections": (
        f"{ONE}    aliases: [same]\n  Y:\n    format: DICOM\n    aliases:\n    - a\n    - SAME\n",
        9,
        "'SAME' of Y already means X",
    ),
    "an alias of a shipped collection": (ONE + "    aliases: [sbu]\n", 4, "means COVID-19-NY-SBU"),
    "a shipped DOI": (ONE + "    doi: 10.7937/VTW4-X588\n", 4, "means MIDRC-RICORD-1A"),
    "a shipped wiki page": (ONE + "    wiki_pages: [70226443]\n", 4, "means COVID-19-AR"),
    "a DOI that is not valid": (ONE + "    doi: TCIA.2020\n", 4, "not a bare DOI: 'TCIA.2020'"),
    "a DOI as a link": (ONE + "    doi: https://doi.org/10.1/x\n", 4, "is not a bare DOI"),
    "an FTP address": (ONE + "    page: ftp://host/x\n", 4, "not an http or https"),
    "a script as an address": (ONE + "    page: javascript:x\n", 4, "not an http or https"),
    "an address without host": (
        ONE + "    page: 'https:///x'\n",
        4,
        "not an http or https",
    ),
    "an address that is not valid": (ONE + "    page: 'http://[x'\n", 4, "is not an address"),
    "a day that does not exist": (
        ONE + "    updated: 2021-02-30\n",
        4,
        "is not a date as yyyy-mm-dd",
    ),
    "a license without its use": (ONE + "    license: {name: X}\n", 4, "key 'commercial_use' is"),
    "a license use in words": (
        ONE + "    license:\n      name: X\n      commercial_use: maybe\n",
        6,
        "must be true or false, not text (maybe)",
    ),
    "a supporting file of no kind": (
        ONE + "    supporting:\n    - {title: T, kind: manifest}\n    - {title: T, kind: song}\n",
        6,
        "not 'song'",
    ),
    "a hash that is too short": (
        ONE + "    supporting: [{title: T, kind: clinical, sha256: abc}]\n",
        4,
        "is not a SHA-256",
    ),
    "a publication without text": (ONE + "    publications:\n    - year: 2020\n", 5, "'text'"),
    "an idc without a bucket": (
        ONE + "    idc: {collection_id: x}\n",
        4,
        "'bucket' is missing",
    ),
}


@pytest.mark.parametrize(("text", "line", "reason"), BROKEN.values(), ids=BROKEN)
def test_errors_in_a_file_name_the_line_and_the_reason(tmp_path, either_parser, text, line, reason):
    path = write(tmp_path, text)
    with pytest.raises(RegistryError) as caught:
        load_registry([path])
    assert caught.value.message.startswith(f"registry {path}, line {line}: ")
    assert reason in caught.value.message
    assert caught.value.exit_code == EXIT_REQUEST


def test_the_line_of_bytes_that_are_not_utf8_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"collections:\n  X:\n    title: Gr\xf6\xdfe\n")
    with pytest.raises(RegistryError, match="line 3: not UTF-8 text"):
        load_registry([path])


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("fromat: x", "did you mean 'format'?"),
        ("Titel: x", "did you mean 'title'?"),
        ("doi: https://doi.org/10.7937/VTW4-X588", "write it as 10.7937/VTW4-X588"),
        ("title: 12", "put it in quotes"),
    ],
)
def test_errors_in_a_file_have_a_hint(tmp_path, line, hint):
    with pytest.raises(RegistryError) as caught:
        load_registry([write(tmp_path, f"{ONE}    {line}\n")])
    assert caught.value.hint == hint


def test_a_name_conflict_names_both_lines(tmp_path):
    path = write(tmp_path, ONE + "    aliases: [sbu]\n")
    with pytest.raises(RegistryError) as caught:
        load_registry([path])
    assert str(shipped_file()) in caught.value.message


def test_a_missing_registry_file_is_named(tmp_path):
    with pytest.raises(RegistryError, match=r"none\.yaml cannot be read: No such file"):
        load_registry([tmp_path / "none.yaml"])


def test_a_folder_is_not_a_registry(tmp_path):
    with pytest.raises(RegistryError, match="cannot be read"):
        load_registry([tmp_path])


# Further resources


def test_resources_of_all_files_are_kept_once(tmp_path: Path) -> None:
    shipped = load_registry().resources
    page = f"{{title: {shipped[0].title!r}, url: {shipped[0].url!r}}}"
    text = f"resources: [{page}, {{title: Mine, url: https://host/mine}}]\ncollections: {{}}\n"
    found = load_registry([write(tmp_path, text)]).resources
    assert found[:-1] == shipped
    assert str(found[-1]) == "Mine: https://host/mine"


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("{title: Mine}", "url"),
        ("{title: Mine, url: mine}", "is not an http or https address"),
        ("{title: Mine, url: https://host, kind: x}", "kind"),
    ],
)
def test_a_resource_needs_a_title_and_an_address(tmp_path: Path, page: str, complaint: str) -> None:
    path = write(tmp_path, f"resources: [{page}]\ncollections: {{}}\n")
    with pytest.raises(RegistryError, match=complaint):
        load_registry([path])
