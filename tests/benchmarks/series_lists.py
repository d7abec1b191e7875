"""What a list of many series costs: a plan of a collection that an NBIA-like server lists.

`python -m tests.benchmarks.series_lists 1000000` prints the size of the list, and the CPU and the
peak memory of `plan`. The server generates the list while it sends it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.benchmarks.runs import PROGRAM, run

NAME = "TRIAL"
_ROWS = 1000
"""Rows per piece."""


def main() -> None:
    """Measure one plan for each number of series."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("series", nargs="*", type=int, default=[100_000])
    for count in parser.parse_args().series:
        size, cpu, memory = _measured(count)
        print(
            f"{count:,} series, a list of {size / 1e6:.0f} MB: {cpu:.1f} s of CPU,"
            f" {memory / 1e6:.0f} MB, {memory / count:.0f} bytes per series"
        )


def row(number: int) -> dict[str, str]:
    """A series as NBIA lists it: three per study, two studies per patient."""
    day = number % 28 + 1
    return {
        "SeriesInstanceUID": f"1.3.6.1.4.1.14519.5.2.1.99.1071.{number:030d}",
        "StudyInstanceUID": f"1.3.6.1.4.1.14519.5.2.1.99.1071.{number // 3:030d}",
        "Collection": NAME,
        "PatientID": f"{NAME}-{number // 6:06d}",
        "Modality": "CT",
        "BodyPartExamined": "CHEST",
        "SeriesDescription": f"AXIAL CHEST {number % 40}",
        "SeriesNumber": f"{number % 9}.000000",
        "SeriesDate": f"2011-04-{day:02d}",
        "StudyDate": f"2011-04-{day:02d}",
        "StudyDesc": "CT CHEST W CONTRAST",
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "ManufacturerModelName": "LightSpeed VCT",
        "PatientSex": "M",
        "PatientAge": "064Y",
        "ImageCount": str(100 + number % 300),
        "FileSize": str(52_000_000 + number),
        "LicenseName": "Creative Commons Attribution 4.0 International License",
        "LicenseURI": "https://creativecommons.org/licenses/by/4.0/",
        "CollectionURI": "https://doi.org/10.7937/tcia.2020.py71-5978",
        "TimeStamp": f"2020-08-{day:02d} 10:00",
    }


def pieces(count: int) -> Iterator[bytes]:
    """The list, piece by piece."""
    yield b"["
    for start in range(0, count, _ROWS):
        rows = map(row, range(start, min(start + _ROWS, count)))
        yield (b"," if start else b"") + ",".join(map(json.dumps, rows)).encode()
    yield b"]"


def _measured(count: int) -> tuple[int, float, int]:
    sent = 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal sent
            sent = 0
            self.send_response(200)
            self.end_headers()
            for piece in pieces(count):
                self.wfile.write(piece)
                sent += len(piece)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with tempfile.TemporaryDirectory() as folder:
            registry = Path(folder, "registry.yaml")
            registry.write_text(f"collections:\n  {NAME}:\n    format: DICOM\n", encoding="utf-8")
            where = ["--nbia-url", f"http://127.0.0.1:{server.server_port}", "--source", "nbia"]
            options = ["-o", folder, "--registry", str(registry), *where]
            cost = run([*PROGRAM, "plan", NAME, *options])
        server.shutdown()
    return sent, cost.cpu, cost.memory


if __name__ == "__main__":
    main()
