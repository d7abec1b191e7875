"""Text of an archive is shown on a terminal without its control characters."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.command import QUICK, run
from tests.fakes.nbia_faults import Answer
from tests.faults.scenario import NAME, Scenario

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
    scenario: Scenario, tmp_path: Path, command: str
) -> None:
    scenario.add(Answer("getSeries", body=nasty, times=None))
    if command == "status":
        run(*COMMANDS["download"], home=tmp_path, TCIA_COVID_NBIA_URL=scenario.url)
    result = run(*COMMANDS[command], home=tmp_path, TCIA_COVID_NBIA_URL=scenario.url)
    assert result.stdout
    assert not STEERING.findall(result.stdout + result.stderr)
    if command == "series --json":
        assert json.loads(result.stdout)["series"][0]["Modality"] == NASTY.strip()
