"""`registry`: all errors at once, and a schema that accepts what the reader accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tcia_covid.catalog.registry import check_registry_file, json_schema, shipped_file
from tcia_covid.cli.main import run
from tcia_covid.demo.walkthrough import REGISTRY

Captured = pytest.CaptureFixture[str]
BROKEN = """\
tcia: {txt: x}
resources:
- {title: A}
- {title: B, url: ftp://b}
collections:
  First:
    format: TIFF
    patients: -1
    aliases: [a, 5, b, 6]
    licence: x
    license: {name: 5, commercial_use: maybe}
    wiki_pages: [1, x]
  Second:
    doi: 11.x
    supporting:
    - {title: T, kind: other}
    - {title: U, kind: clinical, sha256: abc}
  Third: {format: DICOM}
"""
WRONG = [
    "",
    "collections: []",
    "other: {}",
    "collections: {X: {}}",
    "collections: {X: {format: TIFF}}",
    "collections: {X: {format: DICOM, series: -1}}",
    "collections: {X: {format: DICOM, series: 1.5}}",
    "collections: {X: {format: DICOM, series: many}}",
    "collections: {X: {format: DICOM, serie: 1}}",
    "collections: {X: {format: DICOM, doi: 'https://doi.org/10.7937/abc'}}",
    "collections: {X: {format: DICOM, page: ftp://x}}",
    "collections: {X: {format: DICOM, updated: yesterday}}",
    "collections: {X: {format: DICOM, aliases: [1]}}",
    "collections: {X: {format: DICOM, aliases: a}}",
    "collections: {X: {format: DICOM, license: {name: CC}}}",
    "collections: {X: {format: DICOM, license: {name: CC, commercial_use: 'yes'}}}",
    "collections: {X: {format: DICOM, citation: {title: T}}}",
    "collections: {X: {format: DICOM, supporting: [{title: T, kind: other}]}}",
    "collections: {X: {format: DICOM, supporting: [{title: T, kind: clinical, sha256: abc}]}}",
    "collections: {X: {format: DICOM, idc: {collection_id: x}}}",
    "collections: {X: {format: DICOM, title: ' '}}",
]
RIGHT = [
    "collections: {}",
    "collections: {X: {format: dicom, nbia: null, version: 1.0, updated: 2020-07-15}}",
    "collections: {X: {format: NIfTI, citation: text, aspera: {packages: 2}}}",
    "tcia: null\nresources: null\ncollections: {X: {format: DICOM, license: null}}",
]


def check(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return [error.message.removeprefix(f"registry {path}, ") for error in check_registry_file(path)]


def as_json(text: str) -> Any:
    """The values of YAML as an editor has them: a date is text."""
    return json.loads(json.dumps(yaml.safe_load(text), default=str))


def accepts(text: str) -> bool:
    validator = jsonschema.Draft202012Validator(json_schema())
    return bool(validator.is_valid(as_json(text)))


def test_all_errors_are_found_with_their_lines(tmp_path: Path) -> None:
    found = check(tmp_path, BROKEN)
    lines = sorted(int(message.removeprefix("line ").partition(":")[0]) for message in found)
    assert lines == [1, 1, 3, 4, 7, 8, 9, 9, 10, 11, 11, 12, 14, 14, 16, 17], found
    text = "\n".join(found)
    for part in ("TIFF", "licence", "sha256", "'format' is missing in Second", "ftp://b"):
        assert part in text


def test_names_that_mean_two_collections_are_found(tmp_path: Path) -> None:
    text = "collections: {X: {format: DICOM, aliases: [ar, sbu]}}"
    found = check(tmp_path, text)
    assert ["means COVID-19-AR" in found[0], "means COVID-19-NY-SBU" in found[1]] == [True, True]


@pytest.mark.parametrize("path", [shipped_file(), REGISTRY])
def test_the_files_of_the_program_are_right(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert accepts(path.read_text(encoding="utf-8"))
    assert check_registry_file(path) == []


@pytest.mark.parametrize("text", WRONG)
def test_reader_and_schema_refuse_the_same(tmp_path: Path, text: str) -> None:
    assert check(tmp_path, text)
    assert not accepts(text)


@pytest.mark.parametrize("text", RIGHT)
def test_reader_and_schema_accept_the_same(tmp_path: Path, text: str) -> None:
    assert check(tmp_path, text) == []
    assert accepts(text)


def test_the_command_lists_errors_and_ends_with_2(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(BROKEN)
    assert run(["registry", "check", str(path), str(shipped_file())]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 17
    assert out.splitlines()[-1] == f"{shipped_file()} has no errors"
    assert "error: 16 errors in the registry files" in err
    assert run(["registry", "check", str(shipped_file())]) == 0


def test_the_command_prints_the_schema(capsys: Captured) -> None:
    assert run(["registry", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


@pytest.mark.parametrize("arguments", [["check"], ["schema", "x.yaml"], ["check", "missing.yaml"]])
def test_a_wrong_use_is_refused(arguments: list[str]) -> None:
    assert run(["registry", *arguments]) == 2
