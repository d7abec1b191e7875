"""The public names of the package."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import tcia_covid.core.version


@pytest.mark.parametrize("name", tcia_covid.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(tcia_covid, name)
    assert inspect.getdoc(found)
    assert name in dir(tcia_covid)


def test_only_the_public_names_are_listed() -> None:
    importlib.import_module("tcia_covid.operations.download")
    assert set(dir(tcia_covid)) == {*tcia_covid.__all__, "__version__"}
    assert inspect.isfunction(tcia_covid.download)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nope"):
        _ = tcia_covid.nope


def test_importing_the_package_imports_next_to_nothing() -> None:
    code = "import sys; a = set(sys.modules); import tcia_covid; print(*(set(sys.modules) - a))"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    ours = {name for name in ran.stdout.split() if name.startswith("tcia_covid")}
    assert ours == {"tcia_covid"}
    assert not {"requests", "yaml", "pydicom", "click"} & set(ran.stdout.split())
