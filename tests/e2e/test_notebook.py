"""The notebook runs from its first cell to its last, and the page about Python is that of the code.

The cells run in order in one plain interpreter, not in a kernel of Jupyter: that would need a dozen
packages. What a notebook would show of each cell's value is made, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.archive import real_names
from tests.fakes.nbia import ArchiveServer

TOP = Path(__file__).resolve().parents[2]
CELLS = json.loads((TOP / "docs" / "example.ipynb").read_text("utf-8"))["cells"]
RUN = """
import ast, json, sys
namespace = {}
for source in json.load(sys.stdin):
    *statements, last = ast.parse(source).body
    exec(compile(ast.Module(statements, []), "cell", "exec"), namespace)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)
        print(value._repr_html_() if hasattr(value, "_repr_html_") else repr(value))
    else:
        exec(compile(ast.Module([last], []), "cell", "exec"), namespace)
"""


def test_the_notebook_runs(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("numpy")
    sources = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    with ArchiveServer(real_names(), compression=1) as server:
        options = {"source": "nbia", "nbia_url": server.base_url, "accept_listed": True}
        stand_in = [source.replace("options = {}", f"options = {options}") for source in sources]
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", RUN],
            input=json.dumps(stand_in),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert "complete in data" in ran.stdout
    assert "images intact in data; exit code 0" in ran.stdout
    assert "10.7937/TCIA.2020.PY71-5978" in ran.stdout


def test_the_notebook_has_no_outputs_and_the_fields_of_its_format() -> None:
    for cell in CELLS:
        assert {"cell_type", "id", "metadata", "source"} <= set(cell)
        assert not cell.get("outputs")


def test_the_page_about_python_is_that_of_the_code() -> None:
    script = [sys.executable, TOP / "scripts" / "api_page.py"]
    page = subprocess.run(script, capture_output=True, check=True, encoding="utf-8").stdout
    assert (TOP / "docs" / "api.md").read_text("utf-8") == page
