"""The structure of the package, as docs/design.md has it."""

from __future__ import annotations

import ast
import sys

import pytest

from scripts import structure

DEPENDENCIES = {
    "requests",
    "urllib3",
    "click",
    "pydicom",
    "yaml",
    "isal",
    "truststore",
    "pyarrow",
    "numpy",
    "PIL",
    "jinja2",
    "markupsafe",
    "pandas",
    "tqdm",
}
LAZY_IMPORTS = 31
"""Imports inside functions: each has its reason next to it."""


@pytest.fixture(scope="module")
def modules() -> dict[str, structure.Module]:
    return structure.read()


def test_imports_only_point_down_the_list_of_packages(modules: dict[str, structure.Module]) -> None:
    assert structure.upward(modules) == []


def test_there_are_no_import_cycles(modules: dict[str, structure.Module]) -> None:
    assert structure.cycles(modules) == []


def test_every_module_is_in_a_package_of_the_list(modules: dict[str, structure.Module]) -> None:
    assert structure.misplaced(modules) == []


def test_a_file_is_as_long_as_its_subject(modules: dict[str, structure.Module]) -> None:
    assert structure.tiny(modules) == []


def test_imports_inside_functions_are_few(modules: dict[str, structure.Module]) -> None:
    lazy = [f"{module.name}: {text}" for module in modules.values() for text in module.lazy]
    assert len(lazy) <= LAZY_IMPORTS, lazy


def test_only_declared_packages_are_imported(modules: dict[str, structure.Module]) -> None:
    for_type_checkers = {"typing_extensions", "_typeshed"}
    allowed = {*DEPENDENCIES, "tcia_covid", *for_type_checkers}
    foreign: set[str] = set()
    for module in modules.values():
        for node in ast.walk(ast.parse(module.path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                foreign |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                foreign.add((node.module or "").split(".")[0])
    assert foreign - allowed - set(sys.stdlib_module_names) == set()
