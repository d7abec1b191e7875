"""The manual pages: written from the commands, correct for man, and part of the wheel."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tcia_covid.cli.command_table import COMMANDS
from tcia_covid.cli.options import Option

TOP = Path(__file__).resolve().parents[2]
PAGES: dict[str, str] = runpy.run_path(str(TOP / "scripts" / "man_pages.py"))["pages"]()
NAMES = ["tcia-covid.1", *(f"tcia-covid-{name}.1" for name in COMMANDS)]


def test_each_command_has_a_page_with_its_options_and_examples() -> None:
    assert [*PAGES] == NAMES
    for name, command in COMMANDS.items():
        page = PAGES[f"tcia-covid-{name}.1"].replace("\\-", "-").replace("\\(aq", "'")
        assert command.summary in page
        for param in command.params:
            if isinstance(param, Option) and param.name not in command.unused:
                assert max(param.opts, key=len) in page
        assert all(f"tcia-covid {example.split()[0]}" in page for example in command.examples)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_correct_for_man(name: str, tmp_path: Path) -> None:
    page = tmp_path / name
    page.write_text(PAGES[name], encoding="ascii")
    groff, lexgrog = shutil.which("groff"), shutil.which("lexgrog")
    if groff is None or lexgrog is None:
        pytest.skip("needs man-db and groff")
    ran = subprocess.run(
        [groff, "-man", "-Tascii", "-ww", "-P-cbou", page],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not ran.stderr
    assert "EXAMPLES" in ran.stdout or name == "tcia-covid.1"
    indexed = subprocess.run([lexgrog, page], capture_output=True, text=True, check=True)
    assert re.search(rf'"{name.removesuffix(".1")} - .+"', indexed.stdout)


def test_the_wheel_has_the_pages_and_needs_only_click_for_them(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['requests', 'yaml', 'tqdm', 'pydicom']))\n"
        f"sys.argv[1:] = ['build', '-t', 'wheel', '-d', {str(tmp_path)!r}]\n"
        "from hatchling.cli import hatchling\n"
        "sys.exit(hatchling())\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=TOP,
        capture_output=True,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as contents:
        shipped = {
            name.rpartition("/")[2]: contents.read(name).decode()
            for name in contents.namelist()
            if "/data/share/man/man1/" in name
        }
    assert shipped == PAGES
