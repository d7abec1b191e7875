"""Writes docs/faults.md: each fault, what happens, and the tests that prove it.

    python scripts/fault_table.py > docs/faults.md

The tests of row N are those with `fault_NN` in their name: `pytest -k fault_14` runs row 14.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
NAME = re.compile(r"test_fault_(\d\d)_(\w+)")

ROWS = {
    1: (
        "the connection is reset or cut in the middle of a ZIP",
        "whole images are kept; what is missing is fetched, image by image where that is cheaper",
    ),
    2: ("the body ends cleanly, but the ZIP has no end record", "as 1"),
    3: (
        "a valid ZIP lacks images that the server could not read",
        "noticed by count and bytes; asked for one by one; what the archive does not have is named",
    ),
    4: ("an image is cut in half, its CRC matches", "noticed by bytes and MD5; fetched again"),
    5: (
        "an image's bytes differ from the archive's MD5",
        "fetched again; if it stays wrong the series fails and the image goes to quarantine",
    ),
    6: ("the archive's MD5 lacks its leading zeros", "right, not a mismatch"),
    7: (
        "the archive has no MD5 for an image, or none at all",
        "accepted on count, bytes and header, recorded and shown as not checked against a hash",
    ),
    8: ("silence, or a trickle far below the minimum rate", "the connection is dropped; retried"),
    9: ("the first byte comes only after minutes", "waited for: a time-out of its own"),
    10: (
        "500, 502, 503, 504, 429, with and without Retry-After",
        "retried with back-off and jitter; fewer requests at once, more again later",
    ),
    11: ("400: not granted, not public", "asked once more, then reported; other series go on"),
    12: ("401, 403, 404", "not retried; told"),
    13: (
        "200 with a page, with nothing, with half a list",
        "asked again; told with its first bytes",
    ),
    14: (
        "a list shorter than it should be",
        "asked again; what is listed is fetched, the rest is named, exit code 1",
    ),
    15: ("DNS, refused, proxy, TLS", "one sentence with what to check; TLS is never switched off"),
    16: ("a redirect to http or to another host", "never to http; no credential goes along"),
    17: ("names in a ZIP that climb out or cannot be", "no name from a ZIP ever reaches the disk"),
    18: ("a ZIP bomb", "stopped near the series' size on record"),
    19: (
        "images of others, doubles, files that are no DICOM",
        "the series fails; equal doubles are dropped",
    ),
    20: (
        "disk full, read-only, in the way",
        "told before the start or at once; nothing half-written",
    ),
    21: ("kill -9 at any moment, power loss", "the next run goes on; nothing half-written counts"),
    22: (
        "Ctrl-C, SIGTERM, SIGHUP",
        "stops within 2 s; exit code 130, 143, 129; the same command goes on",
    ),
    23: ("several runs on one destination", "they share the work; never two writers on one series"),
    24: ("a file deleted, cut or changed later", "`verify` finds it, `download` mends just that"),
    25: (
        "the archive changed the series since",
        "told; `--update` fetches it, keeping the old until then",
    ),
    26: ("a collection unknown to the archive, or not DICOM", "told, with near names, exit code 2"),
    27: (
        "broken manifests, registries, configuration, UIDs",
        "line number and reason, exit code 2",
    ),
    28: (
        "odd PatientIDs and descriptions",
        "safe and distinct folders; the original in metadata.csv",
    ),
    29: ("credentials and signed URLs", "never in any output, file name or process list"),
    30: ("the clock jumps", "nothing happens: durations are measured on the monotonic clock"),
    34: (
        "a run ends early: a signal, a kill, an outage, `adopt --move` after the last original",
        "report files cover what is complete, at once or by the next run; till then it is said",
    ),
}


def tests_by_row() -> dict[int, list[str]]:
    """The tests of each row, as sentences, with the file they stand in."""
    found: dict[int, list[str]] = defaultdict(list)
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match = NAME.fullmatch(node.name) if isinstance(node, ast.FunctionDef) else None
            if match:
                found[int(match[1])].append(match[2].replace("_", " "))
    return found


def table() -> str:
    """The whole document."""
    tests = tests_by_row()
    lines = [
        "# The faults it survives",
        "",
        "For every row: the run ends with the right exit code and says what happened to which",
        "series; nothing that is not complete and verified stands in the tree; the same command",
        "goes on from what is kept. Each row is proved over real HTTP, real processes and real",
        "files; `pytest -k fault_14` runs row 14.",
        "",
        "This page is written by `scripts/fault_table.py`.",
        "",
        "| # | fault | what happens | proved by |",
        "| --- | --- | --- | --- |",
    ]
    for number, (fault, outcome) in ROWS.items():
        proofs = "; ".join(sorted(tests[number]))
        lines.append(f"| {number} | {fault} | {outcome} | {proofs} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
