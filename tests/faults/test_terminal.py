"""What an archive says is shown on a terminal, and must not steer it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.command import QUICK, run
from tests.fakes.faults import Answer
from tests.faults.trial import NAME, Trial

STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
NASTY = "\x1b[31mCT\x9b2J\r\n\x07"
FIELDS = ("Modality", "SeriesDescription", "PatientID", "BodyPartExamined", "Manufacturer")
ARCHIVE = ["--source", "nbia", *QUICK]
COMMANDS = {
    "plan": ["plan", NAME, "-o", "data", *ARCHIVE],
    "plan --json": ["plan", NAME, "-o", "data", "--json", *ARCHIVE],
    "series": ["series", NAME, *ARCHIVE],
    "series --json": ["series", NAME, "--json", *ARCHIVE],
    "download": ["download", NAME, "-o", "data", "--verbose", *ARCHIVE],
    "status": ["status", "data"],
}


def nasty(body: bytes) -> bytes:
    return json.dumps([row | dict.fromkeys(FIELDS, NASTY) for row in json.loads(body)]).encode()


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_shows_what_would_steer_a_terminal(
    trial: Trial, tmp_path: Path, command: str
) -> None:
    trial.add(Answer("getSeries", body=nasty, times=None))
    if command == "status":
        run(*COMMANDS["download"], home=tmp_path, TCIA_COVID_NBIA_URL=trial.url)
    result = run(*COMMANDS[command], home=tmp_path, TCIA_COVID_NBIA_URL=trial.url)
    assert result.stdout
    assert not STEERING.findall(result.stdout + result.stderr)
    if command == "series --json":
        assert json.loads(result.stdout)["series"][0]["Modality"] == NASTY.strip()
