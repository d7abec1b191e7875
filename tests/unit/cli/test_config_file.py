"""Configuration files: where they are, what they set, and how a broken one is reported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tcia_covid.cli import config_file
from tcia_covid.core.errors import EXIT_REQUEST, ConfigError


def load(tmp_path: Path, *texts: str | bytes) -> dict[str, object]:
    paths = []
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        paths.append(path)
    return {name: setting.value for name, setting in config_file.load(paths).items()}


def broken(tmp_path: Path, text: str | bytes) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert raised.value.exit_code == EXIT_REQUEST
    assert str(tmp_path / "0.yaml") in raised.value.message
    return raised.value


def test_values_are_parsed_as_on_the_command_line(tmp_path: Path) -> None:
    text = "jobs: 16\nmax-size: 20GB\njson: true\nshard: 2/8\nstall-timeout: 1.5\noutput: /data\n"
    values = load(tmp_path, text)
    assert values["jobs"] == 16
    assert values["max_size"] == 20 * 10**9
    assert values["json"] is True
    assert values["shard"] == "2/8"
    assert values["stall_timeout"] == 1.5
    assert values["output"] == "/data"


@pytest.mark.parametrize("key", ["nbia-url", "nbia_url", "--nbia-url", "'nbia-url'"])
def test_a_name_may_be_spelled_with_hyphens_or_underscores(tmp_path: Path, key: str) -> None:
    assert load(tmp_path, f"{key}: http://127.0.0.1/v4\n") == {"nbia_url": "http://127.0.0.1/v4"}


def test_a_filter_takes_one_value_or_a_list(tmp_path: Path) -> None:
    values = load(tmp_path, "modality: CT\npatient: [A 1, B]\n")
    assert values == {"modality": ("CT",), "patient": ("A 1", "B")}


def test_values_are_read_as_written_not_as_yaml_numbers(tmp_path: Path) -> None:
    values = load(tmp_path, "patient: [0012, 1_000, 2020-01-01, no]\nseries: 1.20\n")
    assert values == {"patient": ("0012", "1_000", "2020-01-01", "no"), "series": ("1.20",)}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "jobs:\n", "modality: []\n"])
def test_an_empty_value_sets_nothing(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text) == {}


def test_a_missing_file_sets_nothing(tmp_path: Path) -> None:
    assert config_file.load([tmp_path / "none.yaml", tmp_path / "0.yaml" / "below"]) == {}


def test_a_later_file_overrides_option_by_option(tmp_path: Path) -> None:
    assert load(tmp_path, "jobs: 2\nretries: 1\n", "jobs: 3\n") == {"jobs": 3, "retries": 1}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("jobs: 4\njbos: 3\n", "line 2: unknown option 'jbos'", "did you mean 'jobs'?"),
        ("xyzzy: 3\n", "line 1: unknown option 'xyzzy'", "the options are accept-listed"),
        ("\n\njobs: many\n", "line 3: jobs: 'many' is not a valid whole number", ""),
        ("jobs: 0\n", "line 1: jobs: 0 is not in the range 1<=x<=256", ""),
        ("max-rate: fast\n", "line 1: max-rate: 'fast' is not a size", ""),
        ("nbia-url: ftp://x\n", "line 1: nbia-url: not an http or https URL", ""),
        ("json: perhaps\n", "line 1: json: 'perhaps' is not a valid boolean", ""),
        ("source: mars\n", "line 1: source: 'mars' is not one of", ""),
        ("jobs: [1, 2]\n", "line 1: 'jobs' in the file must be text or a number, not a list", ""),
        ("modality: {a: b}\n", "line 1: 'modality' in the file must be text or a number", ""),
        (
            "modality:\n- CT\n- [x]\n",
            "line 3: an entry of 'modality'",
            "",
        ),
        ("jobs: 1\nretries: 2\njobs: 3\n", "line 3: key 'jobs' is already in line 1", ""),
        ("max_size: 1\nmax-size: 2\n", "line 2: 'max-size' is set twice", ""),
        ("- jobs\n", "line 1: the file must be a table of keys and values, not a list", ""),
        ("just text\n", "line 1: the file must be a table of keys and values, not text", ""),
        ("[a]: 3\n", "line 1: a key in the file must be text, not a list", ""),
        ("jobs: 3\n  retries: 2\n", "line 2: not valid YAML", ""),
        ("jobs: [1\n", "line 2: not valid YAML", ""),
        (b"retries: 1\njobs: \xff\n", "line 2: not UTF-8 text", ""),
        (b"jobs: \x00\n", "line 1: not valid YAML", ""),
        ("[" * 100_000, "line 1: ", ""),  # the reason depends on libyaml
        ('jobs: "\\U00110000"\n', "not valid YAML", ""),
    ],
)
def test_fault_27_a_broken_file_is_reported_with_line_and_reason(
    tmp_path: Path, text: str | bytes, message: str, hint: str
) -> None:
    error = broken(tmp_path, text)
    assert message in error.message
    assert not error.message.endswith(".")
    assert error.hint.startswith(hint)


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "0.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"cannot read .*0\.yaml"):
        config_file.load([tmp_path / "0.yaml"])


def test_the_current_folder_overrides_the_users_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "xdg" / "tcia-covid").mkdir(parents=True)
    (tmp_path / "xdg" / "tcia-covid" / "config.yaml").write_text("jobs: 1\nretries: 1\n")
    (tmp_path / "tcia-covid.yaml").write_text("jobs: 2\n")
    settings = config_file.load(config_file.files())
    assert {name: setting.value for name, setting in settings.items()} == {"jobs": 2, "retries": 1}


@pytest.mark.parametrize(
    ("platform", "variable", "folder"),
    [
        ("linux", "XDG_CONFIG_HOME", "set/tcia-covid"),
        ("linux", "", ".config/tcia-covid"),
        ("darwin", "", "Library/Application Support/tcia-covid"),
        ("win32", "APPDATA", "set/tcia-covid"),
        ("win32", "", "AppData/Roaming/tcia-covid"),
    ],
)
def test_each_system_has_its_folder_for_the_users_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, variable: str, folder: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "set"))
    assert config_file.user_folder() == tmp_path / folder


def test_a_variable_that_names_no_option_is_refused() -> None:
    config_file.check_environment(["HOME", "TCIA_COVID_OUTPUT"])
    with pytest.raises(ConfigError) as raised:
        config_file.check_environment(["TCIA_COVID_OUTPT"])
    assert "TCIA_COVID_OUTPT" in raised.value.message
    assert raised.value.hint == "did you mean 'TCIA_COVID_OUTPUT'?"


@pytest.mark.parametrize(
    "name",
    [
        *("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_80_TCP", "PORT_80_TCP_ADDR"),
        *("CACHE_SERVICE_HOST", "CACHE_PORT", "CACHE_PORT_443_UDP_PROTO"),
    ],
)
def test_variables_that_kubernetes_sets_are_ignored(name: str) -> None:
    config_file.check_environment([f"TCIA_COVID_{name}"])


def test_a_path_of_windows_in_double_quotes_is_explained(tmp_path: Path) -> None:
    assert "leave out the quotes" in broken(tmp_path, 'output: "C:\\data"\n').hint
    assert load(tmp_path, "output: C:\\data\n") == {"output": "C:\\data"}


def test_a_file_that_is_not_utf_8_is_explained(tmp_path: Path) -> None:
    assert "UTF-8" in broken(tmp_path, "output: Jörg\n".encode("cp1252")).hint
