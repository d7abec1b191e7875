"""Generates docs/faults.md: each fault, what happens, and the tests that prove it.

    python scripts/fault_table.py > docs/faults.md

The tests of row N have `fault_NN` in their names: `pytest -k fault_14` runs the tests of row 14.
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
        "complete images are kept; missing ones are downloaded, individually if that is cheaper",
    ),
    2: ("the response ends cleanly, but the ZIP has no end record", "as 1"),
    3: (
        "images are missing from a valid ZIP because the server could not read them",
        "detected by count and bytes; each is requested; those the archive does not have are named",
    ),
    4: (
        "an image is cut in half, but its CRC matches",
        "detected by bytes and MD5; downloaded again",
    ),
    5: (
        "an image's bytes differ from the archive's MD5",
        "downloaded again; if it is still wrong, the series fails and the image is quarantined",
    ),
    6: ("the archive's MD5 is written without its leading zeros", "accepted as equal"),
    7: (
        "the archive has no MD5 for an image, or none at all",
        "accepted by count, bytes and header; recorded and reported as not checked against a hash",
    ),
    8: (
        "no data, or a trickle far below the minimum rate",
        "the connection is closed; the request is retried",
    ),
    9: ("the first byte arrives only after minutes", "the first byte has its own, longer time-out"),
    10: (
        "500, 502, 503, 504, 429, with and without Retry-After",
        "retried with back-off; fewer simultaneous requests, later more; exit 3 if nothing came",
    ),
    11: (
        "400: access not granted, collection not public",
        "requested once more, then reported; other series continue",
    ),
    12: ("401, 403, 404", "reported, not retried"),
    13: (
        "200 with an HTML page, an empty response or half a list",
        "requested again; the report quotes the first bytes",
    ),
    14: (
        "a list that is shorter than expected",
        "requested again; listed series are downloaded, the others are named, exit code 1",
    ),
    15: (
        "failures of DNS, connection, proxy or TLS",
        "one sentence that says what to check; TLS checks are never switched off",
    ),
    16: (
        "a redirect to http or to another host",
        "https is never downgraded to http; no credentials are sent to another host",
    ),
    17: (
        "names in a ZIP that point outside the folder or are invalid",
        "no name from a ZIP is used on disk",
    ),
    18: ("a ZIP bomb", "stopped near the recorded size of the series"),
    19: (
        "images of other series, duplicates, files that are not DICOM",
        "the series fails; identical duplicates are dropped",
    ),
    20: (
        "disk full or read-only, another file in the way",
        "reported before the start or immediately; no partial files in the tree",
    ),
    21: (
        "kill -9 at any moment, power loss",
        "the next run continues; partial files never count as complete",
    ),
    22: (
        "Ctrl-C, SIGTERM, SIGHUP",
        "stops within 2 s; exit code 130, 143, 129; the same command continues later",
    ),
    23: ("several runs on one destination", "they share the work; never two writers on one series"),
    24: (
        "a file is deleted, truncated or changed later",
        "`verify` detects it, `download` repairs only what is damaged",
    ),
    25: (
        "the archive changed the series after the download",
        "reported; `--update` downloads it and keeps the old version until the new one is complete",
    ),
    26: (
        "a collection unknown to the archive, or not DICOM",
        "reported, with similar names, exit code 2",
    ),
    27: (
        "invalid manifests, registries, configuration, UIDs",
        "line number and reason, exit code 2",
    ),
    28: (
        "unusual PatientIDs and descriptions",
        "safe and distinct folder names; the original is in metadata.csv",
    ),
    29: ("credentials and signed URLs", "never in any output, file name or process list"),
    30: ("the system clock jumps", "no effect: durations use the monotonic clock"),
    31: (
        "a user's file or folder is in a series or collection folder, hidden or a DICOM file",
        "it stays, unchanged, where it is; `verify` lists it and exits with 0 (`--strict`: 1)",
    ),
    32: (
        "an image is a symbolic link to the right bytes (git-annex, DataLad, DVC)",
        "it is intact: never downloaded again, never moved; a repair replaces the link",
    ),
    33: (
        "a series folder would be inside another one (two layouts, a damaged receipt)",
        "the series gets a folder of its own; a second run changes nothing",
    ),
    34: (
        "a run ends early: a signal, a kill, an outage, `adopt --move` after the last original",
        "report files cover what is complete, at once or after the next run; `status` says which",
    ),
    35: (
        "a link, FIFO, socket or device in place of a lock, receipt or image; a hostile receipt",
        "nothing outside the tree is changed, and nothing waits; a bad receipt counts as damaged",
    ),
    36: (
        "no home folder, no working directory, no statvfs or fsync, low limits, full logs",
        "the run continues where that is safe; else one sentence names the limit",
    ),
    37: ("a complete tree that may not be written", "`download` reports it complete, exit code 0"),
    38: (
        "one of IDC's hosts refuses or lies (403, 404, redirect, HTML, damage), or asks to wait",
        "the other hosts, then NBIA, take over its work; only that host waits",
    ),
    39: (
        "an object of a series is bad: refused, missing, damaged, of another series",
        "all others are stored first; then it alone is fetched elsewhere, or named as missing",
    ),
    40: (
        "a server closes kept-alive connections, or never answers for an object",
        "sent again at once, uncounted; silence costs one budget of retries in all",
    ),
    41: (
        "Windows: paths over 259 characters, files open in another program, read-only files",
        "too long paths are refused before the start; an open file fails one series or report",
    ),
    42: (
        "the ZIP of a series fails for ever, or its MD5 list contradicts the archive's hashes",
        "completed from single images; the hashes that prove win; images nobody gives are named",
    ),
    43: (
        "no network: DNS, connections, the proxy or TLS fail for all archives from the start",
        "one sentence and exit code 3 within 10 s; no series counts as failed",
    ),
}


def tests_by_row() -> dict[int, list[str]]:
    """Return the tests of each row; their names are turned into sentences."""
    tests: dict[int, list[str]] = defaultdict(list)
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match = NAME.fullmatch(node.name) if isinstance(node, ast.FunctionDef) else None
            if match:
                tests[int(match[1])].append(match[2].replace("_", " "))
    return tests


def table() -> str:
    """Return the whole document."""
    tests = tests_by_row()
    lines = [
        "# Faults it survives",
        "",
        "For every row: the run ends with the right exit code and reports what happened to which",
        "series. The tree contains only complete and verified series. Running the same command",
        "again continues with the data that was kept. Each row is tested with real HTTP, real",
        "processes and real files; `pytest -k fault_14` runs the tests of row 14.",
        "",
        "This page is generated by `scripts/fault_table.py`.",
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
