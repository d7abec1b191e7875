"""Options: their environment variables, their place in files, and what beats what."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest

from tcia_covid.api.options import Choices
from tcia_covid.cli import config_file
from tcia_covid.cli.click_commands import Option, as_command
from tcia_covid.cli.console import Console
from tcia_covid.cli.main import NAMES, program, run
from tcia_covid.cli.options import (
    ALL,
    DOWNLOADING,
    EVERYWHERE,
    FILTERS,
    SUPPORTING,
    directory,
    targets,
)
from tcia_covid.cli.param_types import bucket_host
from tcia_covid.core.settings import DEFAULT_OUTPUT, HttpSettings
from tcia_covid.core.units import parse_size
from tcia_covid.selection.request import DEFAULT_JOBS, Options

COMMANDS: dict[str, click.Command] = {
    name: command
    for name in NAMES
    if (command := program.get_command(click.Context(program), name)) is not None
}
EVERY = [
    pytest.param(option, id=f"{name} {option.opts[-1]}")
    for name, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
]


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test."""
    monkeypatch.setattr(config_file, "user_folder", lambda: tmp_path / "user")
    monkeypatch.chdir(tmp_path)


def echo(*arguments: str) -> dict[str, Any]:
    """What a verb gets for these arguments, with the files' settings."""
    given: dict[str, Any] = {}

    @as_command(targets(required=False), *FILTERS, *DOWNLOADING, *EVERYWHERE)
    def probe(console: Console, **values: Any) -> int:
        given.update(values, json=console.json, quiet=console.quiet)
        return 0

    probe.main(
        list(arguments), standalone_mode=False, obj=Console(), default_map=config_file.load(ALL)
    )
    return given


def looked_at(*arguments: str) -> str:
    """The folder that a verb looks at, with these arguments and the files' settings."""
    found: list[str] = []

    @as_command(directory(), *EVERYWHERE)
    def probe(console: Console, directory: str, **_: Any) -> int:
        found.append(directory)
        return 0

    probe.main(
        list(arguments), standalone_mode=False, obj=Console(), default_map=config_file.load(ALL)
    )
    return found[0]


def test_all_nine_verbs_are_there() -> None:
    assert tuple(COMMANDS) == NAMES
    assert all(name == command.name for name, command in COMMANDS.items())


@pytest.mark.parametrize("option", EVERY)
def test_every_option_has_a_variable_and_a_place_in_files(option: click.Option) -> None:
    assert isinstance(option, Option)
    assert option.envvar == f"TCIA_COVID_{option.key.upper().replace('-', '_')}"
    assert option.key in {one.key for one in ALL}
    if f"--{option.key}" not in option.opts:  # `series` has a --format, too, with other choices
        assert option.key in (option.help or "")
        assert option.envvar in (option.help or "")


def test_no_two_options_share_a_variable_with_different_meanings() -> None:
    keys = [option.key for option in ALL]
    assert len(set(keys)) == len(keys)


def test_every_verb_takes_the_options_that_hold_everywhere() -> None:
    for command in COMMANDS.values():
        assert set(EVERYWHERE) <= set(command.params)


def test_the_library_can_choose_whatever_the_command_line_can() -> None:
    presented = {"output", "json", "quiet", "verbose", "no_progress", "log_file", "events"}
    names = {str(option.name) for option in (*FILTERS, *DOWNLOADING, *SUPPORTING, *EVERYWHERE)}
    assert names - presented == set(Choices.__annotations__)


def test_defaults_in_help_texts_are_those_of_the_library() -> None:
    told = {
        str(option.name): found[1]
        for option in (*DOWNLOADING, *EVERYWHERE)
        if (found := re.search(r"\[default: (\S+)\]", option.help or ""))
    }
    settings = HttpSettings()
    for field in fields(HttpSettings):
        if field.name in told:
            assert parse_size(told.pop(field.name)) == getattr(settings, field.name)
    assert told == {"jobs": str(DEFAULT_JOBS), "source": Options().source, "layout": "uid"}
    assert next(one for one in DOWNLOADING if one.name == "output").default == DEFAULT_OUTPUT


def test_options_left_out_leave_the_librarys_defaults() -> None:
    left_out = {"output", "targets", "json", "quiet"}
    assert not any(value for name, value in echo().items() if name not in left_out)


def test_the_command_line_beats_the_environment_and_that_beats_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("tcia-covid.yaml").write_text("jobs: 2\nretries: 2\nmax-size: 2GB\njson: true\n")
    monkeypatch.setenv("TCIA_COVID_JOBS", "3")
    monkeypatch.setenv("TCIA_COVID_RETRIES", "3")
    found = echo("--jobs", "4")
    assert (found["jobs"], found["retries"], found["max_size"]) == (4, 3, 2 * 10**9)
    assert found["json"] is True


def test_a_flag_can_be_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("tcia-covid.yaml").write_text("update: true\nno-fsync: true\ncommercial-use: true\n")
    monkeypatch.setenv("TCIA_COVID_QUIET", "1")
    monkeypatch.setenv("TCIA_COVID_COMMERCIAL_USE", "0")
    found = echo("--no-update", "--fsync")
    assert not found["update"]
    assert not found["no_fsync"]
    assert not found["commercial_use"]
    assert found["quiet"]
    assert not echo("--no-quiet")["quiet"]


def test_opposites_of_flags_are_not_in_help_texts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["download", "--help"]) == 0
    told = capsys.readouterr().out
    assert "--no-fsync" in told
    assert " --fsync" not in told
    assert "--no-json\n" not in told.split("Every option")[0]


@pytest.mark.parametrize(
    ("variable", "text", "name", "values"),
    [
        ("MODALITY", "CT DX", "modality", ("CT", "DX")),
        ("SERIES", "1.2 1.3", "series", ("1.2", "1.3")),
        ("PATIENT", "P 1\nP 2", "patient", ("P 1", "P 2")),
        ("DESCRIPTION", "lung .* thin", "description", ("lung .* thin",)),
        ("BODY_PART", "UPPER LEG", "body_part", ("UPPER LEG",)),
        ("REGISTRY", "", "registry", ()),
    ],
)
def test_several_values_in_one_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, name: str, values: tuple[str, ...]
) -> None:
    monkeypatch.setenv(f"TCIA_COVID_{variable}", text)
    assert echo()[name] == values


@pytest.mark.parametrize(
    ("source", "folder"), [("argument", "a"), ("variable", "v"), ("file", "f"), ("", "tcia-data")]
)
def test_the_folder_to_look_at_is_by_default_the_one_downloaded_to(
    monkeypatch: pytest.MonkeyPatch, source: str, folder: str
) -> None:
    if source == "file":
        Path("tcia-covid.yaml").write_text("output: f\n")
    if source == "variable":
        monkeypatch.setenv("TCIA_COVID_OUTPUT", "v")
    assert looked_at(*(["a"] if source == "argument" else [])) == folder


@pytest.mark.parametrize("source", ["argument", "variable", "file", "directory"])
def test_the_home_folder_may_be_written_as_users_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    if source == "file":
        Path("tcia-covid.yaml").write_text("output: ~/x\nregistry: [~/a.yaml]\n")
    if source == "variable":
        monkeypatch.setenv("TCIA_COVID_OUTPUT", "~/x")
        monkeypatch.setenv("TCIA_COVID_REGISTRY", "~/a.yaml")
    if source == "directory":
        assert looked_at("~/x") == str(tmp_path / "x")
        return
    given = echo(*(["--output=~/x", "--registry=~/a.yaml"] if source == "argument" else []))
    assert given["output"] == str(tmp_path / "x")
    assert given["registry"] == (str(tmp_path / "a.yaml"),)


@pytest.mark.parametrize("option", ["--log-file", "--events", "--registry"])
@pytest.mark.parametrize("value", ["", "-"])
def test_a_word_that_names_no_file_is_refused(
    capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    assert run(["list", f"{option}={value}"]) == 2
    assert f"error: {option}: {value!r} names no file" in capsys.readouterr().err
    assert not Path("-").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "list"],
        ["list", "--json"],
        ["--quiet", "--registry", "x.yaml", "--json", "list", "--no-quiet"],
    ],
)
def test_options_that_hold_everywhere_may_stand_before_the_verb(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    Path("x.yaml").write_text("collections: {X: {format: DICOM}}\n")
    assert run(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert ("X" in {one["name"] for one in told["collections"]}) == ("x.yaml" in arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jobs", "0"], "--jobs: '0' is not a whole number from 1 to 256"),
        (["--retries", "-1"], "--retries: '-1' is not a whole number of 0 or more"),
        (["--max-size", "big"], "--max-size: 'big' is not a size"),
        (["--shard", "9/8"], "--shard: there is no shard 9 of 8"),
        (["--stall-timeout", "0"], "--stall-timeout: it has to be above 0 seconds"),
        (["--retry-wait", "nan"], "--retry-wait: 'nan' is not a number of seconds"),
        (["--connect-timeout", "soon"], "--connect-timeout: 'soon' is not a number of seconds"),
        (["--nbia-url", "nbia.org"], "--nbia-url: not an http or https URL"),
        (["--nbia-url", "http://[x"], "--nbia-url: not an http or https URL"),
        (["--idc-url", "azure"], "--idc-url: not an http or https URL"),
        (["--idc-url", "aws,azure"], "--idc-url: not an http or https URL"),
        (["--source", "mars"], "--source: 'mars' is not one of 'auto', 'nbia', 'idc'"),
        (["--description", "("], "the description filter '(' is not a regular expression"),
        (["--layout", "{x}"], "the layout has an unknown field {x}"),
        (["--jobs"], "option '--jobs' requires an argument"),
        (["--nope"], "no such option '--nope'"),
        (["--max-rate", "0"], "0 is not a valid max-rate"),
    ],
)
def test_a_value_that_makes_no_sense_is_told_in_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["download", "COVID-19-AR", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert len(err.splitlines()) <= 3


def test_several_hosts_of_idcs_buckets_are_taken() -> None:
    assert bucket_host("GCS, http://127.0.0.1:9000/s3") == "gcs,http://127.0.0.1:9000/s3"


def test_a_bad_variable_is_told_by_its_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCIA_COVID_JOBS", "many")
    assert run(["plan", "COVID-19-AR"]) == 2
    assert "error: TCIA_COVID_JOBS: 'many' is not a whole number" in capsys.readouterr().err
