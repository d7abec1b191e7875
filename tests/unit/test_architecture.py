"""Imports go one way: registry, archive, plan, transfer, store, report; nothing in a circle."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import tcia_covid

ROOT = Path(tcia_covid.__file__).parent

LAYERS = [
    {"errors", "defaults"},
    {"stop", "model", "inflate", "redact", "settings"},
    {"summary"},
    {"events"},
    {"names", "md5list", "zipstream", "http", "registry", "volumes"},
    {"dicom", "catalogue", "citation"},
    {"selection"},
    {"archives", "store"},
    {"transfer", "report", "options"},
    {"opening", "request"},
    {"held", "outage", "faspex", "supporting", "space", "listing"},
    {"verify"},
    {"engine", "tally", "status", "nifti"},
    {"download"},
    {"plan", "adopt"},
    {"document", "progress"},
    {"eventlog", "library"},
    {"demo"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


@cache
def _rooms() -> dict[str, set[str]]:
    """Each room with the rooms that it imports."""
    found: dict[str, set[str]] = {}
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        room = parts[0]
        if room == "__init__":
            continue
        imports = found.setdefault(room, set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            imports |= {name for name in _imported(node) if name != room}
    return found


def _imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tcia_covid"):
        parts = (node.module or "").split(".")
        if len(parts) > 1:
            return {parts[1]}
        return {alias.name for alias in node.names if alias.name in LEVEL}
    if isinstance(node, ast.Import):
        names = [alias.name.split(".") for alias in node.names]
        return {parts[1] for parts in names if parts[0] == "tcia_covid" and len(parts) > 1}
    return set()


def test_every_room_has_its_place() -> None:
    assert _rooms().keys() <= LEVEL.keys()


@pytest.mark.parametrize("room", sorted(_rooms()))
def test_imports_go_down_only(room: str) -> None:
    upward = {other for other in _rooms()[room] if LEVEL[other] >= LEVEL[room]}
    assert not upward


def test_run_time_packages_are_the_five() -> None:
    allowed = {"requests", "urllib3", "click", "pydicom", "tqdm", "yaml", "isal", "pyarrow"}
    allowed |= {"typing_extensions", "tcia_covid"}  # the first for type checkers alone
    foreign: set[str] = set()
    for file in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                foreign |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                foreign.add((node.module or "").split(".")[0])
    import sys  # noqa: PLC0415

    assert foreign - allowed - set(sys.stdlib_module_names) == set()
