"""The program: errors, exit codes, streams."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tcia_covid.cli.command_table import COMMANDS, GROUPS
from tcia_covid.cli.main import run
from tcia_covid.core.summary import Summary
from tcia_covid.core.version import __version__
from tcia_covid.output.json_documents import summary_document

Captured = pytest.CaptureFixture[str]
NAMES = [*COMMANDS]


@pytest.mark.parametrize(
    "arguments",
    [[], ["--help"], ["-h"], ["--help-all"], ["help"], *([name, "--help"] for name in NAMES)],
)
def test_help_goes_to_standard_output(capsys: Captured, arguments: list[str]) -> None:
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert "Usage: tcia-covid" in out
    assert out.isascii(), "click writes it in any encoding of the terminal"
    assert not err


def test_the_overview_groups_the_commands_with_one_complete_sentence_each(capsys: Captured) -> None:
    run(["--help"])
    overview = capsys.readouterr().out
    assert [line for line in overview.splitlines() if line in {f"{name}:" for name in GROUPS}] == [
        f"{name}:" for name in GROUPS
    ]
    shown = [line.split(maxsplit=1) for line in overview.splitlines() if line.startswith("  ")]
    for name, command in COMMANDS.items():
        assert [name, command.summary] in shown
        assert command.summary.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_command_begins_as_the_overview_says(capsys: Captured, name: str) -> None:
    run([name, "--help"])
    assert COMMANDS[name].summary in " ".join(capsys.readouterr().out.split())


def test_help_works_with_a_broken_configuration(capsys: Captured) -> None:
    Path("tcia-covid.yaml").write_text("jbos: 3\n")
    assert run(["download", "--help"]) == 0
    assert run(["download", "X"]) == 2
    assert "tcia-covid.yaml, line 1" in capsys.readouterr().err


def test_the_version(capsys: Captured) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"tcia-covid {__version__}\n"


@pytest.mark.parametrize("arguments", [["--version", "-v"], ["--verbose", "--version"]])
def test_the_detailed_version_names_dependencies(capsys: Captured, arguments: list[str]) -> None:
    assert run(arguments) == 0
    out = capsys.readouterr().out
    for word in ("catalog", "built", "inflate", "python", "requests", "pydicom"):
        assert word in out


def test_the_version_as_json(capsys: Captured) -> None:
    assert run(["--version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == __version__


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["help", "exitcodes"], "there is no help on 'exitcodes'", "did you mean 'exit-codes'?"),
        (["downlaod"], "unknown command 'downlaod'", "did you mean 'download'?"),
        (["xyzzy"], "unknown command 'xyzzy'", "'tcia-covid --help' lists all commands"),
        (["download"], "no target given", "name a collection"),
        (["cite"], "missing argument 'TARGET...'", "see 'tcia-covid cite --help'"),
        (
            ["info", "covid-19-arr"],
            "'covid-19-arr' is not a known collection",
            "did you mean 'COVID-19-AR'?",
        ),
        (["download", "CT Images in COVID-19"], "CT Images in COVID-19 is published as NIfTI", ""),
        (["download", "no.tcia"], "there is no file no.tcia", "check its path"),
        (["--registry", "no.yaml", "list"], "registry no.yaml cannot be read", "check its path"),
        (
            ["cite", "covid-19-arr"],
            "there is no collection, series, study, patient or manifest 'covid-19-arr'",
            "did you mean 'COVID-19-AR'?",
        ),
        (["plan", "X", "--modalty", "CT"], "unknown option '--modalty'", "mean '--modality'?"),
        (
            ["plan", "X", "--layout", "{foo}"],
            "the layout has an unknown field {foo}",
            "known fields",
        ),
        (
            ["plan", "X", "--first-patients", "0"],
            "--first-patients: 0 is not in the range",
            "--help",
        ),
        (["status", "empty"], "folder empty has no collection", "give the folder"),
        (["download", "X", "-o", "own"], "own is one collection's own folder", "that holds it: "),
        (["adopt", ".", "-o", "own"], "own is one collection's own folder", "that holds it: "),
        (["verify", "nowhere"], "there is no folder nowhere", "give the folder"),
        (
            ["plan", "COVID-19-AR", "--log-file", "a/b"],
            "cannot write the log to a/b",
            "name a file",
        ),
        (["plan", "COVID-19-AR", "--events", "a/b"], "cannot write events to a/b", ""),
        (["plan", "X", "--compare"], "'X' is not in the catalog", "--compare takes COVID-19-AR"),
    ],
)
def test_an_invalid_request_ends_with_2_and_says_why(
    capsys: Captured, arguments: list[str], message: str, hint: str
) -> None:
    Path("empty").mkdir()
    Path("own/.tcia-covid").mkdir(parents=True)
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    shown = err[err.index("error: ") :]  # after the notices of a retry
    assert shown.startswith(f"error: {message}")
    assert hint in shown
    assert len(shown.splitlines()) <= 3
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "command", "kind"),
    [
        (["downlaod", "--json"], None, "UsageError"),
        (["download", "--json"], "download", "UsageError"),
        (["plan", "X", "--jobs", "0", "--json"], "plan", "UsageError"),
        (["info", "nope", "--json"], "info", "UnknownCollectionError"),
        (["--json", "status", "nowhere"], "status", "RequestError"),
        (["series", "no.tcia", "--json"], "series", "ManifestError"),
    ],
)
def test_errors_are_one_json_document_with_json(
    capsys: Captured, arguments: list[str], command: str | None, kind: str
) -> None:
    assert run(arguments) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["command"], document["exit_code"]) == (command, 2)
    assert document["error"]["type"] == kind
    assert document["error"]["message"]


@pytest.mark.parametrize("wrong", [["no.tcia"], ["A", "--jobs", "0"], ["A", "--nope"]])
def test_a_download_that_did_not_start_has_every_key_of_its_document(
    capsys: Captured, wrong: list[str]
) -> None:
    assert run(["download", *wrong, "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document.keys() == {*summary_document(Summary([], "")), "error"}
    assert (document["command"], document["exit_code"], document["failures"]) == ("download", 2, [])
    assert document["series"]["complete"] == 0


def test_the_document_of_an_error_names_targets_and_folder(capsys: Captured) -> None:
    run(["download", "no.tcia", "-o", "here", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (document["targets"], document["output"]) == (["no.tcia"], "here")
    for command, key in (("verify", "damage"), ("status", "collections")):
        assert run([command, "nowhere", "--json"]) == 2
        document = json.loads(capsys.readouterr().out)
        assert (document["output"], document[key]) == ("nowhere", [])


def test_with_a_broken_configuration_the_document_names_the_command(capsys: Captured) -> None:
    Path("tcia-covid.yaml").write_text("jbos: 3\n")
    assert run(["plan", "X", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["command"] == "plan"


def test_errors_are_json_if_the_environment_says_so(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCIA_COVID_JSON", "true")
    assert run(["download"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2
    assert run(["download", "--no-json"]) == 2
    assert not capsys.readouterr().out


def test_an_internal_error_is_one_sentence_and_a_traceback_with_verbose(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("https://user:hunter2@x/y?token=hunter2")

    monkeypatch.setattr("tcia_covid.cli.commands.list.load_registry", broken)
    assert run(["list"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: internal error: RuntimeError: ")
    assert "run again with --verbose" in err
    assert "Traceback" not in err
    assert "hunter2" not in err
    assert run(["list", "--verbose"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "hunter2" not in err


@pytest.mark.parametrize("error", [KeyboardInterrupt, EOFError])
def test_an_interruption_before_the_job_ends_with_130(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupted(*_: object) -> None:
        raise error

    monkeypatch.setattr("tcia_covid.cli.commands.list.load_registry", interrupted)
    assert run(["list", "--json"]) == 130
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 130
    assert "the same command" in err


def test_a_configuration_that_sets_json_applies_to_errors_in_options(
    capsys: Captured, tmp_path: Path
) -> None:
    (tmp_path / "tcia-covid.yaml").write_text("json: true\n")
    assert run(["list", "--wrong"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["command"], document["error"]["type"]) == ("list", "UsageError")
    assert run(["list", "--wrong", "--no-json"]) == 2
    assert not capsys.readouterr().out
