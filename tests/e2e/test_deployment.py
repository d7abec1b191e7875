"""The GitHub Action and the container image, as far as they can be tried without a runner.

`scripts/container-check` builds the image and runs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

import tcia_covid
from tests.e2e.command import environment
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Faults, Status
from tests.fakes.nbia_servers import NAME, REPOSITORY
from tests.fakes.scripted_server import closed_port

ACTION: dict[str, Any] = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
BASH = shutil.which("bash")

Step = tuple[int, dict[str, str], str]
"""A step's exit code, its outputs, and what it printed."""

pytestmark = pytest.mark.skipif(BASH is None or sys.platform == "win32", reason="needs bash")


@pytest.fixture(name="step")
def _step(archive: ArchiveServer, tmp_path: Path) -> Callable[..., Step]:
    """Run the script of the step `name` with the given inputs, as a runner does."""
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "tcia-covid"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m tcia_covid "$@"\n')
    command.chmod(0o755)
    (tmp_path / "bin" / "python").symlink_to(sys.executable)

    def step(name: str, *, nbia: str = archive.base_url, **given: str) -> Step:
        script = next(each for each in STEPS if each.get("name") == name)
        inputs = {key: value.get("default", "") for key, value in ACTION["inputs"].items()} | given
        output = tmp_path / "github-output"
        output.write_text("")
        ran = subprocess.run(
            [BASH or "", "--noprofile", "--norc", "-eo", "pipefail", "-c", script["run"]],
            env=environment(
                tmp_path,
                PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
                RUNNER_TEMP=str(tmp_path),
                GITHUB_OUTPUT=str(output),
                TCIA_COVID_NBIA_URL=nbia,
                TCIA_COVID_SOURCE="nbia",
                TCIA_COVID_REGISTRY="registry.yaml",
                TCIA_COVID_RETRY_WAIT="0.01",
                TCIA_COVID_RETRIES="2",
                TCIA_COVID_OUTAGE_TIMEOUT="0.1",
                **{variable: filled(text, inputs) for variable, text in script["env"].items()},
            ),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return ran.returncode, outputs, ran.stdout + ran.stderr

    return step


def filled(text: str, inputs: dict[str, str]) -> str:
    """`text` with the inputs in place of its expressions."""
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], text)


def test_the_action_downloads_and_reports_what_is_complete(
    step: Callable[..., Step], tmp_path: Path
) -> None:
    code, outputs, printed = step("Download", targets=NAME, filters="--max-series '4'")
    assert code == 0, printed
    assert (outputs["exit-code"], outputs["complete"], outputs["failed"]) == ("0", "4", "0")
    assert Path(outputs["result"]).is_file()
    assert len(list((tmp_path / "data").rglob("*.dcm"))) == 8


def test_the_action_never_runs_its_inputs(step: Callable[..., Step], tmp_path: Path) -> None:
    code, outputs, _ = step("Download", targets="$(touch run) `touch run`", arguments=";touch run")
    assert code == 2
    assert outputs["complete"] == "0"
    assert not (tmp_path / "run").exists()


def test_the_action_fails_with_the_exit_code_of_an_incomplete_download(
    step: Callable[..., Step], archive: ArchiveServer, faults: Faults
) -> None:
    series = next(iter(archive.corpus)).uid
    faults.add(Status(("getImage", "getSingleImage"), code=404, series=series, times=None))
    code, outputs, printed = step("Download", targets=NAME)
    assert code == 1, printed
    assert (outputs["exit-code"], outputs["complete"], outputs["failed"]) == ("1", "5", "1")
    assert "::error title=Incomplete::" in printed


def test_the_action_can_continue_with_its_cache_when_no_archive_is_reached(
    step: Callable[..., Step], archive: ArchiveServer, tmp_path: Path
) -> None:
    uids = sorted(series.uid for series in archive.corpus)
    (tmp_path / "a cart.tcia").write_text("ListOfSeriesToDownload=\n" + "\n".join(uids[:5]))
    some = {"targets": f"'a cart.tcia' {uids[5]}", "filters": f"--series '{','.join(uids[2:])}'"}
    assert step("Download", **some)[0] == 0
    nowhere = f"http://127.0.0.1:{closed_port()}"
    code, outputs, printed = step("Download", nbia=nowhere, **some)
    assert (code, outputs["exit-code"]) == (3, "3"), printed
    offline = {"nbia": nowhere, "unreachable": "verify"}
    code, outputs, printed = step("Download", **offline, **some)
    assert (code, outputs["exit-code"]) == (0, "3"), printed
    assert "::warning title=No archive::" in printed
    code, _, printed = step("Download", **offline, targets="'a cart.tcia'")  # more than it has
    assert code == 3
    assert f"missing series {uids[0]}" in printed
    next((tmp_path / "data").rglob("*.dcm")).write_bytes(b"damaged")
    assert step("Download", **offline, **some)[0] == 3


def test_the_cache_of_the_action_depends_on_what_is_downloaded(step: Callable[..., Step]) -> None:
    keys = [
        step("Name the cache", targets=targets, filters=filters, arguments=more)[1]["prefix"]
        for targets, filters, more in [
            ("A", "B", ""),
            ("A", "B", ""),
            ("A B", "", ""),
            ("A", "C", ""),
            ("A", "", "B"),
        ]
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4


def test_every_expression_of_the_action_names_an_input_or_a_step() -> None:
    text = (REPOSITORY / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    steps = {step["id"] for step in STEPS if "id" in step}
    assert set(re.findall(r"steps\.([\w-]+)\.", text)) == steps
    assert not [step for step in STEPS if "${{" in step.get("run", "")], "inputs come by variables"


def test_the_image_is_built_from_all_that_the_package_needs(tmp_path: Path) -> None:
    """The wheel of the files that .dockerignore lets through is the wheel of the checkout."""
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in (line[1:] for line in lines if line.startswith("!")):
        source = REPOSITORY / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tmp_path / "context" / name, ignore=ignored)
        else:
            (tmp_path / "context" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, tmp_path / "context" / name)
    built = [names_in_wheel(folder, tmp_path) for folder in (REPOSITORY, tmp_path / "context")]
    assert built[0] == built[1]
    assert "tcia_covid/collections.yaml" in built[0]


def names_in_wheel(folder: Path, scratch: Path) -> list[str]:
    """The names of the files in the wheel that is built from `folder`."""
    target = scratch / f"wheel-{folder.name}"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=110,
    )
    (wheel,) = target.glob("*.whl")
    with ZipFile(wheel) as opened:
        return sorted(opened.namelist())


def test_the_image_runs_as_a_user_without_an_account() -> None:
    lines = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    users = [line for line in lines if line.startswith("USER ")]
    assert len(users) == 1
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", users[0]), "runAsNonRoot needs a number"


def test_the_index_page_has_absolute_links_into_the_repository(tmp_path: Path) -> None:
    names_in_wheel(REPOSITORY, tmp_path)
    (wheel,) = tmp_path.rglob("*.whl")
    with ZipFile(wheel) as opened:
        (name,) = [name for name in opened.namelist() if name.endswith("/METADATA")]
        metadata = opened.read(name).decode()
    source = re.findall(r"^Project-URL: Source, (.+)$", metadata, re.MULTILINE)[0]
    links = set(re.findall(r"\]\(([^)#]+)", metadata))
    ours = {link for link in links if link.startswith(source)}
    assert {f"{source}/blob/main/{name}" for name in ("SECURITY.md", "docs/json.md")} <= ours
    assert all(link.startswith("https://") for link in links)
    for link in ours:
        assert (REPOSITORY / link.removeprefix(f"{source}/blob/main/")).exists()


def test_the_citation_file_names_this_version_and_repository() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert citation["version"] == tcia_covid.__version__
    assert f'Source = "{citation["repository-code"]}"' in project
    assert f'license = "{citation["license"]}"' in project
