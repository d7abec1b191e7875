"""Help texts: short ones fit the screen, topics say what the program's own tables say."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest

from tcia_covid.cli import command_table
from tcia_covid.cli.command_table import COMMANDS
from tcia_covid.cli.commands.help import TOPICS
from tcia_covid.cli.main import program, run
from tcia_covid.cli.options import DISPLAY, OPTIONS, Option
from tcia_covid.core import errors
from tcia_covid.core.errors import EXIT_CODES
from tcia_covid.core.models import SERIES_NAMES
from tcia_covid.http.errors import CA_VARIABLES
from tcia_covid.store.layout import FIELDS, FILE_FIELDS, NAMED, Layout
from tcia_covid.store.reports import REPORT_FILES

Captured = pytest.CaptureFixture[str]
NAMES = [*COMMANDS]
LINES = 23
"""The lines of a terminal, without that of the prompt."""


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def shown(capsys: Captured, *arguments: str) -> str:
    assert run(arguments) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_the_short_help_fits_a_terminal_of_24_lines(capsys: Captured, name: str) -> None:
    lines = shown(capsys, name, "--help").splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", NAMES)
def test_the_short_help_leads_to_the_full_one(capsys: Captured, name: str) -> None:
    assert re.search(r"--help-all +Show all options\.", shown(capsys, name, "--help"))
    full = shown(capsys, name, "--help-all")
    for param in COMMANDS[name].params:
        if isinstance(param, Option):
            is_shown = re.search(rf"^ .*{max(param.opts, key=len)}(?![\w-])", full, re.MULTILINE)
            assert bool(is_shown) is (param.name not in COMMANDS[name].unused), param.name


@pytest.mark.parametrize("name", NAMES)
def test_the_two_examples_of_a_command_can_be_parsed(name: str) -> None:
    assert len(COMMANDS[name].examples) == 2
    for example in COMMANDS[name].examples:
        words = shlex.split(example.partition(" > ")[0])
        assert words[0] == name
        COMMANDS[name].make_context(name, words[1:])


def test_options_that_have_no_effect_are_left_out_of_help_texts_only() -> None:
    names = {str(option.name) for option in DISPLAY}
    for command in COMMANDS.values():
        assert command.unused <= names
    assert run(["--no-progress", "info", "COVID-19-AR"]) == 0


def test_no_word_is_broken_in_help_texts(capsys: Captured) -> None:
    assert "MIDRC-RICORD-1C" in shown(capsys, "help", "targets")
    for topic in TOPICS:
        assert max(map(len, shown(capsys, "help", topic).splitlines())) <= 80


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_fits_a_terminal_of_24_lines(capsys: Captured, topic: str) -> None:
    assert len(shown(capsys, "help", topic).splitlines()) <= LINES


def test_topics_are_those_that_are_offered(capsys: Captured) -> None:
    assert [*TOPICS] == [*command_table.TOPICS]
    listed = ", ".join(TOPICS).replace(", templates", " and templates")
    assert listed in str(COMMANDS["help"].help)
    assert all(topic in shown(capsys) for topic in TOPICS)


def test_help_on_a_command_is_its_help_text(capsys: Captured) -> None:
    assert shown(capsys, "help", "plan") == shown(capsys, "plan", "--help")


def test_exit_codes_are_those_of_the_program(capsys: Captured) -> None:
    constants = {value for name, value in vars(errors).items() if re.match(r"EXIT_[A-Z]+$", name)}
    codes = [code for entry in EXIT_CODES for code in entry.codes]
    assert sorted(codes) == sorted(constants - {EXIT_CODES})
    text = " ".join(shown(capsys, "help", "exit-codes").split())
    assert all(entry.meaning in text and entry.advice in text for entry in EXIT_CODES)


def test_the_readme_has_the_same_table_of_exit_codes() -> None:
    readme = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")
    for entry in EXIT_CODES:
        codes = ", ".join(map(str, entry.codes))
        row = f"| {codes} | {entry.meaning} | {entry.advice} |".replace("'", "`")
        assert row.replace("|  |", "| |") in readme


def test_variables_are_named_as_the_topic_on_the_environment_says(capsys: Captured) -> None:
    text = shown(capsys, "help", "environment")
    assert "TCIA_COVID_MAX_RATE=5MB" in text
    assert all(variable in text for variable in CA_VARIABLES)
    settings = json.loads(shown(capsys, "config", "--json"))["settings"]
    names = {setting["name"].upper().replace("-", "_") for setting in settings}
    assert {f"TCIA_COVID_{name}" for name in names} == {item.variable for item in OPTIONS.values()}


def test_the_topic_on_the_layout_names_reports_and_fields(capsys: Captured) -> None:
    text = shown(capsys, "help", "layout")
    assert all(re.search(rf"\b{name}\b", text) for name in (*REPORT_FILES, *NAMED))
    text = shown(capsys, "help", "templates")
    assert all(re.search(rf"\b{name}\b", text) for name in (*FIELDS, *FILE_FIELDS))
    examples = re.findall(r"--layout\s'([^']+)'", text)
    assert len(examples) == 2
    assert all(map(Layout.parse, examples))


@pytest.mark.parametrize("words", ["download --layout help", "adopt --layout=help"])
def test_layout_help_explains_the_layouts(capsys: Captured, words: str) -> None:
    assert shown(capsys, *words.split()) == shown(capsys, "help", "layout")


def test_the_topics_on_targets_and_filters_name_collections_and_columns(capsys: Captured) -> None:
    assert "COVID-19-NY-SBU" in shown(capsys, "help", "targets")
    text = shown(capsys, "help", "filters")
    assert all(re.search(rf"\b{column}\b", text) for column in SERIES_NAMES.values())
    assert "--modality" in text


def test_the_program_is_complete_for_click() -> None:
    """What click derives (completion, manual pages) finds every command without a module."""
    context = click.Context(program, info_name="tcia-covid")
    assert program.list_commands(context) == NAMES
    assert all(program.get_command(context, name) is COMMANDS[name] for name in NAMES)
