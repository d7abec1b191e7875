"""`config`: every setting with its origin; and the file that a run mentions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.cli.commands.config import user_files
from tcia_covid.cli.config_file import BASE_FOLDERS, user_folder
from tcia_covid.cli.main import run
from tcia_covid.cli.options import OPTIONS

Captured = pytest.CaptureFixture[str]


def settings(capsys: Captured, *arguments: str) -> dict[str, tuple[Any, str]]:
    assert run(["config", "--json", *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    return {each["name"]: (each["value"], each["origin"]) for each in document["settings"]}


def test_every_setting_is_shown(capsys: Captured) -> None:
    assert settings(capsys).keys() == OPTIONS.keys()


def test_options_of_several_commands_are_those_of_download(capsys: Captured) -> None:
    assert settings(capsys)["jobs"] == ("8", "default")
    assert run(["config", "--help-all"]) == 0
    shown = capsys.readouterr().out
    assert "Series to download in parallel." in shown
    assert shown.index("Filters (") < shown.index("--patient") < shown.index("With --against")


def test_each_origin_is_named(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = tmp_path / "user" / "tcia-covid" / "config.yaml"
    user.parent.mkdir(parents=True)
    user.write_text("# mine\nstall-timeout: 30\njobs: 1\n")
    Path("tcia-covid.yaml").write_text("modality: [CT, DX]\n\njobs: 3\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "user"))
    monkeypatch.setenv("TCIA_COVID_MAX_RATE", "5MB")
    monkeypatch.setenv("TCIA_COVID_CITE_FORMAT", "bibtex")
    found = settings(capsys, "--retries", "2", "-q")
    assert found["retries"] == (2, "command line")
    assert found["quiet"] == (True, "command line")
    assert found["json"] == (True, "command line")
    assert found["max-rate"] == (5_000_000, "TCIA_COVID_MAX_RATE")
    assert found["cite-format"] == ("bibtex", "TCIA_COVID_CITE_FORMAT")
    assert found["stall-timeout"] == (30, f"{user}:2")
    assert found["jobs"] == (3, "tcia-covid.yaml:3")
    assert found["modality"] == (["CT", "DX"], "tcia-covid.yaml:1")
    assert found["first-byte-timeout"] == ("620", "default")
    assert found["output"] == ("tcia-data", "default")
    assert found["strict"] == (False, "default")
    assert found["max-size"] == (None, "default")


def test_text_names_files_settings_and_systems(capsys: Captured) -> None:
    Path("tcia-covid.yaml").write_text("jobs: 3\n")
    assert run(["config"]) == 0
    out, err = capsys.readouterr()
    words = " ".join(out.split())
    assert "tcia-covid.yaml read, the current folder's file" in words
    assert "config.yaml missing, the user's file" in words
    assert [line.split() for line in out.splitlines() if line.startswith("jobs ")] == [
        ["jobs", "3", "tcia-covid.yaml:1"]
    ]
    assert err == "note: tcia-covid.yaml sets jobs\n"


def test_credentials_are_not_shown(capsys: Captured) -> None:
    secret = "https://me:hunter2@archive.org/v4?token=hunter2"
    assert run(["config", "--nbia-url", secret, "--shared-cart", secret]) == 0
    assert run(["config", "--json", "--nbia-url", secret]) == 0
    out, err = capsys.readouterr()
    assert "archive.org" in out
    assert "hunter2" not in out + err


@pytest.mark.parametrize("platform", BASE_FOLDERS)
def test_the_place_of_the_users_file_is_where_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for variable in ("XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(variable, raising=False)
    folder = user_folder()
    assert folder is not None
    place = f"~/{folder.relative_to(tmp_path).as_posix()}/config.yaml"
    assert any(text.startswith(place) for text in user_files().values())


@pytest.mark.parametrize(
    ("text", "arguments", "note"),
    [
        ("jobs: 3\nmodality: CT\n", ["plan", "ar"], "note: tcia-covid.yaml sets jobs, modality\n"),
        ("jobs: 3\nmodality: CT\n", ["plan", "ar", "-q"], ""),
        ("jobs: 3\n", ["plan", "ar", "--jobs", "4"], ""),
        ("jobs: 3\n", ["info", "ar"], ""),
        ("output: tcia-data\njson: false\n", ["plan", "ar"], ""),
    ],
)
def test_a_file_that_changes_a_default_is_mentioned_once(
    capsys: Captured, text: str, arguments: list[str], note: str
) -> None:
    Path("tcia-covid.yaml").write_text(text)
    assert run(arguments) == 0
    lines = capsys.readouterr().err.splitlines(keepends=True)
    assert "".join(line for line in lines if "tcia-covid.yaml" in line) == note
