"""Options: their environment variables, their place in files, and which one wins."""

from __future__ import annotations

import copy
import inspect
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest

from tcia_covid.api.options import Choices
from tcia_covid.cli import config_file
from tcia_covid.cli.command_table import COMMANDS
from tcia_covid.cli.commands.download import CONFIRM_ABOVE
from tcia_covid.cli.console import Console
from tcia_covid.cli.main import run
from tcia_covid.cli.options import (
    CONFIRM,
    DISPLAY,
    DOCTOR,
    DOWNLOAD,
    FILTERS,
    OPTIONS,
    SUPPORTING,
    Option,
)
from tcia_covid.core.safe_names import DEFAULT_OUTPUT
from tcia_covid.core.units import parse_size
from tcia_covid.http.settings import HttpSettings
from tcia_covid.operations.doctor import QUICK
from tcia_covid.selection.request import DEFAULT_JOBS, Options

EVERY = [
    pytest.param(option, id=f"{name} {option.opts[-1]}")
    for name, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def echo(*arguments: str) -> dict[str, Any]:
    """The values that `download` gets for these arguments."""
    return values_of("download", *arguments)


def values_of(name: str, *arguments: str) -> dict[str, Any]:
    """The values that a command gets for these arguments, with the files' settings."""
    given: dict[str, Any] = {}

    def probe(console: Console, **values: Any) -> int:
        given.update(values, json=console.json, quiet=console.quiet)
        return 0

    command = copy.copy(COMMANDS[name])
    command.callback = probe
    settings = config_file.load(config_file.files())
    defaults = {name: setting.value for name, setting in settings.items()}
    command.main(list(arguments), standalone_mode=False, obj=Console(), default_map=defaults)
    return given


def looked_at(*arguments: str) -> str:
    """The folder that `status` looks at, with these arguments and the files' settings."""
    return str(values_of("status", *arguments)["directory"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_function_of_a_command_gets_what_it_takes(name: str) -> None:
    taken = inspect.signature(COMMANDS[name].function()).parameters
    given = {str(param.name) for param in COMMANDS[name].params}
    assert {key for key in taken if key not in {"console", "choices", "_"}} <= given


@pytest.mark.parametrize("option", EVERY)
def test_every_option_has_a_variable_and_a_place_in_files(option: click.Option) -> None:
    assert isinstance(option, Option)
    assert option.variable == f"TCIA_COVID_{option.key.upper().replace('-', '_')}"
    if f"--{option.key}" not in option.opts:  # `series` also has a --format, with other choices
        assert option.key in (option.help or "")
        assert option.variable in (option.help or "")


@pytest.mark.parametrize("option", EVERY)
def test_options_that_share_a_variable_have_the_same_type(option: Option) -> None:
    assert option.type.to_info_dict() == OPTIONS[option.key].type.to_info_dict()


def test_every_command_takes_the_options_of_display() -> None:
    for command in COMMANDS.values():
        assert set(DISPLAY) <= set(command.params)


@pytest.mark.parametrize("command", ["list", "info COVID-19-AR", "status", "demo"])
def test_commands_without_requests_have_no_address_options(command: str) -> None:
    assert run([*command.split(), "--nbia-url", "http://127.0.0.1/v4"]) == 2


@pytest.mark.parametrize("option", ["--retries=1", "--nbia-url=http://127.0.0.1/v4"])
def test_verify_takes_options_of_the_connection_only_with_online(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    assert run(["verify", option]) == 2
    name = option.partition("=")[0]
    assert f"error: {name} has no effect without --online" in capsys.readouterr().err
    monkeypatch.setenv("TCIA_COVID_RETRIES", "1")
    assert run(["verify"]) == 2
    assert "give the folder of 'download --output'" in capsys.readouterr().err


def test_the_library_has_all_options_of_the_command_line() -> None:
    presented = {"output", "json", "quiet", "verbose", "no_progress", "log_file", "events"}
    assert {str(option.name) for option in CONFIRM}.isdisjoint(Choices.__annotations__)
    names = {str(option.name) for option in (*FILTERS, *DOWNLOAD, *SUPPORTING, *DISPLAY)}
    assert names - presented == set(Choices.__annotations__)


def test_defaults_in_help_texts_are_those_of_the_library() -> None:
    shown = {
        str(option.name): found[1]
        for option in (*DOWNLOAD, *DISPLAY)
        if (found := re.search(r"\[default: (\S+)\]", option.help or ""))
    }
    settings = HttpSettings()
    for field in fields(HttpSettings):
        if field.name in shown:
            assert parse_size(shown.pop(field.name)) == getattr(settings, field.name)
    assert shown == {"jobs": str(DEFAULT_JOBS), "source": Options().source, "layout": "uid"}
    assert next(option for option in DOWNLOAD if option.name == "output").default == DEFAULT_OUTPUT


def test_defaults_in_the_help_of_doctor_are_its_own() -> None:
    shown = {
        str(option.name): parse_size(found[1])
        for option in DOCTOR
        if (found := re.search(r"\[default: (\d+)\]", option.help or ""))
    }
    assert shown.items() >= QUICK.items()


def test_the_size_that_is_asked_about_is_that_in_the_help_text() -> None:
    (option,) = [option for option in CONFIRM if option.name == "confirm_above"]
    assert re.search(r"\[default: (\S+)\]", option.help or "")[1] == "50GB"
    assert parse_size("50GB") == CONFIRM_ABOVE


def test_options_left_out_leave_the_librarys_defaults() -> None:
    always_set = {"output", "targets", "json", "quiet"}
    assert not any(value for name, value in echo().items() if name not in always_set)


def test_the_command_line_overrides_the_environment_which_overrides_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("tcia-covid.yaml").write_text("jobs: 2\nretries: 2\nmax-size: 2GB\njson: true\n")
    monkeypatch.setenv("TCIA_COVID_JOBS", "3")
    monkeypatch.setenv("TCIA_COVID_RETRIES", "3")
    values = echo("--jobs", "4")
    assert (values["jobs"], values["retries"], values["max_size"]) == (4, 3, 2 * 10**9)
    assert values["json"] is True


def test_a_flag_can_be_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("tcia-covid.yaml").write_text("update: true\nno-fsync: true\ncommercial-use: true\n")
    monkeypatch.setenv("TCIA_COVID_QUIET", "1")
    monkeypatch.setenv("TCIA_COVID_COMMERCIAL_USE", "0")
    values = echo("--no-update", "--fsync")
    assert not values["update"]
    assert not values["no_fsync"]
    assert not values["commercial_use"]
    assert values["quiet"]
    assert not echo("--no-quiet")["quiet"]


def test_opposites_of_flags_are_not_in_help_texts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["download", "--help-all"]) == 0
    shown = capsys.readouterr().out
    assert "--no-fsync" in shown
    assert " --fsync" not in shown
    assert "--no-json\n" not in shown.split("Every option")[0]


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
    values = echo(*(["--output=~/x", "--registry=~/a.yaml"] if source == "argument" else []))
    assert values["output"] == str(tmp_path / "x")
    assert values["registry"] == (str(tmp_path / "a.yaml"),)


@pytest.mark.parametrize("option", ["--log-file", "--events", "--registry"])
@pytest.mark.parametrize("value", ["", "-"])
def test_what_is_no_file_name_is_refused(
    capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    assert run(["list", f"{option}={value}"]) == 2
    assert f"error: {option}: {value!r} is not a file name" in capsys.readouterr().err
    assert not Path("-").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "list"],
        ["list", "--json"],
        ["--quiet", "--registry", "x.yaml", "--json", "list", "--no-quiet"],
    ],
)
def test_options_of_display_may_come_before_the_command(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    Path("x.yaml").write_text("collections: {X: {format: DICOM}}\n")
    assert run(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert ("X" in {collection["name"] for collection in document["collections"]}) == (
        "x.yaml" in arguments
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jobs", "0"], "--jobs: 0 is not in the range 1<=x<=256"),
        (["--retries", "-1"], "--retries: -1 is not in the range x>=0"),
        (["--max-size", "big"], "--max-size: 'big' is not a size"),
        (["--shard", "9/8"], "there is no shard 9 of 8"),
        (["--stall-timeout", "0"], "--stall-timeout: 0.0 is not in the range x>0"),
        (["--retry-wait", "nan"], "nan is not a valid retry-wait"),
        (["--connect-timeout", "soon"], "--connect-timeout: 'soon' is not a valid number"),
        (["--first-patients", "x"], "--first-patients: 'x' is not a valid whole number"),
        (["--nbia-url", "nbia.org"], "--nbia-url: not an http or https URL"),
        (["--nbia-url", "http://[x"], "--nbia-url: not an http or https URL"),
        (["--idc-url", "azure"], "--idc-url: not an http or https URL"),
        (["--idc-url", "aws,azure"], "--idc-url: not an http or https URL"),
        (["--source", "mars"], "--source: 'mars' is not one of 'auto', 'nbia', 'idc'"),
        (["--description", "("], "the filter --description ( is not a regular expression"),
        (["--where", "Sex=F"], "there is no column 'Sex' to filter by"),
        (["--max-rate", "5"], "--max-rate: '5' has no unit: write 5MB for that many megabytes"),
        (["--layout", "{x}"], "the layout has an unknown field {x}"),
        (["--jobs"], "option '--jobs' requires an argument"),
        (["--nope"], "unknown option '--nope'"),
        (["--max-rate", "0"], "0 is not a valid max-rate"),
    ],
)
def test_an_invalid_value_is_reported_in_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["download", "COVID-19-AR", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert len(err.splitlines()) <= 3


def test_an_invalid_variable_is_reported_by_its_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCIA_COVID_JOBS", "many")
    assert run(["plan", "COVID-19-AR"]) == 2
    assert "error: TCIA_COVID_JOBS: 'many' is not a valid whole number" in capsys.readouterr().err
