"""docs/json.md names every key of every document and event, and none that does not exist."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.cli import config_file
from tcia_covid.cli.command_table import COMMANDS
from tcia_covid.cli.main import run
from tcia_covid.core.errors import FailureReason, NotDicomError
from tcia_covid.core.models import SERIES_NAMES
from tcia_covid.core.summary import Comparison, Difference
from tcia_covid.output.json_documents import comparison_document, error_document
from tcia_covid.output.logs import EventLog
from tcia_covid.store.tree import Tree
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Faults, Status
from tests.fakes.synthetic import synthetic_corpus
from tests.unit.operations.test_report import add, stack
from tests.unit.output.test_logs import ALL as EVENTS
from tests.unit.trees import new_tree, series_of

DOCS = Path(__file__).resolve().parents[2] / "docs" / "json.md"
NAME = "SMALL"
RunJson = Callable[..., dict[str, Any]]
Tables = dict[str, list[list[list[str]]]]
"""By the head of a section, its tables: rows of cells, each the words in code in it."""


def tables() -> Tables:
    sections = re.split(r"^## ", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        section.partition("\n")[0]: [
            [[*map(_code, row.strip("|").split(" | "))] for row in table.splitlines()[2:]]
            for table in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
        ]
        for section in sections
    }


def _code(cell: str) -> Any:
    return re.findall(r"`([^`]+)`", cell)


def keys_of(section: str) -> set[str]:
    return {key for row in tables()[section][0] for key in row[0]}


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """The keys of a document, down to values without further keys."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from leaves(item, f"{path}[]")
    else:
        yield path


def names(documented: str, key: str) -> bool:
    """Whether a key of the docs is that key, or is in it where it is empty."""
    pattern = re.escape(documented).replace(r"\*", ".+")
    return bool(re.fullmatch(pattern, key)) or documented.startswith((f"{key}[", f"{key}."))


def compare(section: str, documents: Iterable[dict[str, Any]]) -> None:
    own, everywhere = keys_of(section), keys_of("Every document")
    documents = list(documents)
    found = {key for document in documents for key in leaves(document)}
    unnamed = {key for key in found if not any(names(item, key) for item in own | everywhere)}
    assert not unnamed, f"docs/json.md, {section}"
    filled = {key.rpartition("[]")[0] for key in found}
    gone = {
        item
        for item in own
        if item.rpartition("[]")[0] in filled and not any(names(item, key) for key in found)
    }
    assert not gone, f"docs/json.md, {section}"


def test_every_command_has_a_section() -> None:
    sections = {section.split()[0] for section in tables()}
    assert COMMANDS.keys() <= sections


def test_every_reason_of_a_failure_is_explained() -> None:
    explained = [row[0][0] for row in tables()["Every document"][1]]
    assert sorted(explained) == sorted(reason.value for reason in FailureReason)


@pytest.fixture(name="faults")
def _faults() -> Faults:
    return Faults()


@pytest.fixture(name="run_json")
def _run_json(
    faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[RunJson]:
    """Runs a command and gives its document."""
    corpus = synthetic_corpus(
        NAME, patients=2, series_per_patient=1, images_per_series=2, rows=16, columns=16
    )
    monkeypatch.setattr(config_file, "user_folder", lambda: tmp_path / "user")
    monkeypatch.chdir(tmp_path)
    Path("registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    with ArchiveServer(corpus, interceptor=faults, compression=1) as server:
        Path("tcia-covid.yaml").write_text(
            f"nbia-url: {server.base_url}\nsource: nbia\nretries: 0\nretry-wait: 0\n"
            "registry: registry.yaml\noutput: data\n"
        )

        def run_json(*arguments: str) -> dict[str, Any]:
            capsys.readouterr()
            code = run([*arguments, "--json"])
            document: dict[str, Any] = json.loads(capsys.readouterr().out)
            assert document["exit_code"] == code
            return document

        yield run_json


def test_a_download_plan_status_and_verify(run_json: RunJson, faults: Faults) -> None:
    every = ("getImage", "getSingleImage", "getImageWithMD5Hash")
    faults.add(Status(every, code=404, times=2))
    compare("plan", [run_json("plan", NAME)])
    compare("download", [run_json("download", "no.tcia"), run_json("download", NAME)])
    faults.clear()
    with Tree(Path("data", NAME)).hold(series_of(1)):
        documents = [run_json("status", "--missing"), run_json("status", "nowhere")]
    compare("status", documents)
    run_json("download", NAME)
    Path("data/other").mkdir()
    shutil.copy(min(Path("data", NAME).rglob("*.dcm")), "data/other/a.dcm")
    min(Path("data", NAME).rglob("*.dcm")).write_bytes(b"x")
    with Tree(Path("data", NAME)).hold(series_of(1)):
        compare("status", [run_json("status"), run_json("status", "--missing")])
    checks = [
        *(run_json("verify", "nowhere"), run_json("verify", "--online")),
        run_json("verify", "--against", "1.2.3"),
    ]
    assert checks[1]["damage"]
    assert checks[1]["unchecked"]
    compare("verify", checks)


def test_a_report(run_json: RunJson, tmp_path: Path) -> None:
    tree = new_tree(tmp_path / "data")
    add(tree, 1, [*stack(3), *stack(6)[4:]])
    add(tree, 2, [b"not DICOM"])
    document = run_json("report")
    (collection,) = document["collections"]
    assert collection["geometry_problems"]
    assert collection["not_shown"]
    compare("report", [document])


def test_the_files(run_json: RunJson) -> None:
    run_json("download", NAME)
    document = run_json("files", "data")
    assert set(SERIES_NAMES.values()) < set(document["series"][0])
    compare("files", [document, run_json("files", "data", "1.2.3")])


def test_a_relayout(run_json: RunJson) -> None:
    run_json("download", NAME)
    tree = Path("data") / NAME
    (next(tree.rglob("*.dcm")).parent / "notes.txt").write_text("mine")
    layout = ("relayout", "data", "--layout", "retriever")
    documents = [run_json(*layout, "--dry-run"), run_json(*layout)]
    next(tree.rglob("1-1.dcm")).unlink()
    compare("relayout", [*documents, run_json(*layout[:-1], "uid")])


def test_an_examination(run_json: RunJson) -> None:
    compare("doctor", [run_json("doctor")])


def test_an_adoption(run_json: RunJson) -> None:
    run_json("download", NAME)
    shutil.copytree(Path("data", NAME), "old")
    shutil.rmtree("old/.tcia-covid")
    first, *_, last = sorted(Path("old").rglob("*.dcm"))
    shutil.copy(first, "old/again.dcm")
    last.write_bytes(last.read_bytes()[:-7])
    found = run_json("adopt", "old", "-o", "new")
    assert found["duplicates"]
    assert found["damaged"]
    compare("adopt", [found])
    Path("volumes").mkdir()
    Path("volumes/volume-covid19-A-0001.nii.gz").write_bytes(b"x")
    of = ("--collection", "CT Images in COVID-19", "-o", "new")
    compare("adopt of the NIfTI collection", [run_json("adopt", "volumes", *of)])


def test_commands_about_the_registry_and_the_catalog(run_json: RunJson) -> None:
    some = ("MIDRC-RICORD-1B", "--max-series", "2")
    compare("series", [run_json("series", *some), run_json("series", "no.tcia")])
    compare("list", [run_json("list"), run_json("list", "--all")])
    compare("info", [run_json("info", "ar"), run_json("info", "CT Images in COVID-19")])
    compare("cite", [run_json("cite", "COVID-19-AR")])
    compare("config", [run_json("config")])
    Path("wrong.yaml").write_text("collections: {X: {format: TIFF}}\n")
    compare("registry check", [run_json("registry", "check", "wrong.yaml")])
    compare("completion", [run_json("completion", "bash")])
    compare("help", [run_json("help"), run_json("help", "exit-codes")])
    compare("--version", [run_json("--version")])
    different = Comparison("C", 3, 3, ["1.1"], ["1.2"], [Difference("1.3", (2, 1), (9, 8))])
    compare("plan --compare", [comparison_document(["C"], [different])])


def test_the_names_for_a_series() -> None:
    assert keys_of("Names for a series") == set(SERIES_NAMES.values())


def test_what_every_document_has(run_json: RunJson, faults: Faults) -> None:
    faults.add(Status(("getImage", "getSingleImage"), code=404, times=2))
    error = NotDicomError("not DICOM", hint="try ascli", commands=["ascli"])
    documents = [run_json("download", NAME), error_document("download", error)]
    assert keys_of("Every document") <= {key for document in documents for key in leaves(document)}


def test_the_demonstration(run_json: RunJson) -> None:
    compare("demo", [run_json("demo", "shown"), {"nbia_url": "as the first line without --json"}])


def test_every_event(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    for event in EVENTS:
        log.take(event)
    log.close()
    found: dict[str, set[str]] = {}
    for line in (tmp_path / "events").read_text(encoding="utf-8").splitlines():
        content = json.loads(line)
        found.setdefault(content["type"], set()).update(content.keys() - {"type", "time"})
    types, keys = tables()["Events"]
    assert {row[0][0]: set(row[2]) for row in types} == found
    assert {key for row in keys for key in row[0]} == set().union(*found.values())
