"""Every command of the README runs, and help texts and README agree."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.archive import real_names
from tests.e2e.command import environment, run
from tests.ecosystem.__main__ import PAGE, recipes
from tests.fakes.nbia import ArchiveServer

TOP = Path(__file__).resolve().parents[2]
README = (TOP / "README.md").read_text(encoding="utf-8")
COMMANDS = (
    "list",
    "info",
    "series",
    "plan",
    "download",
    "status",
    "verify",
    "report",
    "cite",
    "files",
    "relayout",
    "adopt",
    "demo",
    "config",
    "completion",
    "registry",
    "help",
)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="runs bash")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def _commands() -> list[str]:
    lines = [line for block in _blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("tcia-covid")]


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder to run in, and an environment that points to a fake archive."""
    home = tmp_path_factory.mktemp("readme")
    with ArchiveServer(real_names(), compression=1) as server:
        settings = environment(
            home,
            TCIA_COVID_NBIA_URL=server.base_url,
            TCIA_COVID_SOURCE="nbia",
            TCIA_COVID_ACCEPT_LISTED="1",
            PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin",
        )
        yield home, settings


def _shell(command: str, place: tuple[Path, dict[str, str]]) -> subprocess.CompletedProcess[str]:
    home, settings = place
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=home,
        env=settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_commands_of_the_readme_run_in_order(place: tuple[Path, dict[str, str]]) -> None:
    commands = _commands()
    assert len(commands) > 30
    for command in commands:
        result = _shell(command, place)
        assert result.returncode == 0, f"{command}\n{result.stderr}"


def test_the_python_examples_run(place: tuple[Path, dict[str, str]]) -> None:
    home, settings = place
    example = "\n".join(_blocks("python"))
    # The library takes no settings from the environment: the example gets them as arguments.
    url = settings["TCIA_COVID_NBIA_URL"]
    stand_in = f', source="nbia", nbia_url={url!r}, accept_listed=True)'
    example = example.replace("first_patients=1)", f"first_patients=1{stand_in}")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=home,
        env=settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "images intact" in result.stdout


def test_the_ci_example_gives_inputs_that_the_action_has() -> None:
    (text,) = _blocks("yaml")
    steps = yaml.safe_load(text)["jobs"]["data"]["steps"]
    (given,) = [step["with"] for step in steps if "/tcia-covid@" in step["uses"]]
    inputs = yaml.safe_load((TOP / "action.yml").read_text(encoding="utf-8"))["inputs"]
    assert set(given) <= set(inputs)
    assert {name for name, each in inputs.items() if each.get("required")} <= set(given)


def test_ci_takes_the_commands_for_a_fresh_machine_from_the_readme() -> None:
    ci = (TOP / ".ci" / "run").read_text(encoding="utf-8")
    taken = [re.compile(item) for item in re.findall(r"grep -E '(.*)' README\.md", ci)]
    lines = [line for block in _blocks("sh") for line in block.splitlines()]
    fresh = [line for line in lines if "venv" in line]
    assert [[line for line in lines if item.search(line)] for item in taken] == [[x] for x in fresh]
    assert [line.split()[-1] for line in fresh] == ["demo", "pytest"]


def test_the_readme_names_every_command_and_no_option_that_does_not_exist(tmp_path: Path) -> None:
    helps = {name: run(name, "--help-all", home=tmp_path).stdout for name in COMMANDS}
    for name in COMMANDS:
        assert re.search(rf"tcia-covid {name}\b|`{name}`", README), name
    known = " ".join([*helps.values(), run("--help-all", home=tmp_path).stdout])
    readme = re.sub(r"^```sh\ndocker .*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    ours = [line for line in readme.splitlines() if "pip" not in line]
    for option in sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(ours)))):
        assert option in known, option


def test_the_readme_states_every_exit_code() -> None:
    for code in ("0", "1", "2", "3", "4", "129, 130, 143"):
        assert f"| {code} |" in README


def test_links_of_the_documents_lead_somewhere() -> None:
    for document in [TOP / "README.md", *(TOP / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_fault_table_is_that_of_the_tests() -> None:
    written = subprocess.run(
        [sys.executable, str(TOP / "scripts" / "fault_table.py")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (TOP / "docs" / "faults.md").read_text(encoding="utf-8") == written
    rows = re.findall(r"^\| (\d+) \|.*?(\|  \|)?$", written, re.MULTILINE)
    named = r"def test_fault_(\d+)_"
    tests = [file.read_text(encoding="utf-8") for file in (TOP / "tests").rglob("test_*.py")]
    proved = {int(number) for text in tests for number in re.findall(named, text)}
    assert {int(number) for number, _ in rows} == proved
    assert not any(without_proof for _, without_proof in rows)


def test_the_line_without_an_installer_leaves_the_command_on_the_path(tmp_path: Path) -> None:
    (line,) = [line for block in _blocks("sh") for line in block.splitlines() if "demo" in line]
    steps = line.split(" && ")
    assert steps[2:] == ["pip install .", "tcia-covid demo"]
    subprocess.run(["bash", "-c", steps[0]], cwd=tmp_path, check=True, timeout=110)
    command = tmp_path / "tcia" / "bin" / "tcia-covid"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m tcia_covid "$@"\n')
    command.chmod(0o755)
    ran = subprocess.run(
        ["bash", "-c", f"{steps[1]} && tcia-covid list"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "COVID-19-AR" in ran.stdout


def test_the_recipes_are_complete_and_those_in_python_compile() -> None:
    """`python -m tests.ecosystem` runs them."""
    page = PAGE.read_text(encoding="utf-8")
    found = recipes(page)
    assert len(found) == page.count("<!-- recipe ")
    assert len({recipe.name for recipe in found}) == len(found)
    for recipe in found:
        if recipe.language == "python":
            compile(recipe.code, recipe.name, "exec")
