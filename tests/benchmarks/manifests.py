"""`python -m tests.benchmarks.manifests`: look up manifests of 1,000,000 lines; for docs/scale.md.

Prints size, CPU time and memory for each format. Ends with 1 if one takes 10 s of CPU or 300 MB.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

LINES = 1_000_000
MAX_CPU = 10.0
MAX_MEMORY = 300e6 / 2**20
READ = """
import resource, sys, time
from tcia_covid.catalog.registry import load_registry
from tcia_covid.selection.targets import parse_targets
registry = load_registry()
before = time.process_time()
target, = parse_targets([sys.argv[1]], registry)
cpu = time.process_time() - before
read = len(target.uids) + sum(map(len, target.unlisted.values()))
print(read, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""
_RANDOM = random.Random(1)


def uids() -> Iterator[str]:
    """Yield UIDs as long as those of COVID-19-AR."""
    for _ in range(LINES):
        yield f"1.3.6.1.4.1.14519.5.2.1.9999.103.{_RANDOM.randrange(10**30, 10**31)}"


def uuids() -> Iterator[str]:
    """Yield random UUIDs."""
    for _ in range(LINES):
        yield str(uuid.UUID(int=_RANDOM.getrandbits(128)))


def lines(header: str, line: str, end: str = "") -> Iterator[str]:
    """Yield the lines of a manifest, without a list: a process inherits the peak of its parent."""
    yield header
    for uid, folder in zip(uids(), uuids(), strict=True):
        yield line.format(uid=uid, folder=folder)
    yield end


FORMATS: dict[str, Callable[[], Iterator[str]]] = {
    "txt": lambda: lines("", "{uid}\n"),
    "tcia": lambda: lines("ListOfSeriesToDownload=\n", "{uid}\n"),
    "s5cmd": lambda: lines("", "cp s3://idc-open-data/{folder}/* .\n"),
    "csv": lambda: lines(
        "PatientID,StudyInstanceUID,SeriesInstanceUID,Modality,crdc_series_uuid\n",
        "P1,{uid},{uid},CT,{folder}\n",
    ),
    "json": lambda: lines("[", '"{uid}",\n', '"1.2"]'),
    "jsonl": lambda: lines("", '{{"SeriesInstanceUID": "{uid}", "Modality": "CT"}}\n'),
}


def main() -> int:
    """Measure every format; give the exit code."""
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        for suffix, content in FORMATS.items():
            path = Path(folder) / f"manifest.{suffix}"
            with path.open("w", encoding="utf-8") as file:
                file.writelines(content())
            done = subprocess.run(
                [sys.executable, "-c", READ, str(path)], check=True, capture_output=True, text=True
            )
            read, cpu, memory = done.stdout.split()
            missed = missed or float(cpu) > MAX_CPU or float(memory) > MAX_MEMORY
            size = path.stat().st_size // 10**6
            print(f"{suffix}: {size} MB, {read} entries, {float(cpu):.1f} s of CPU, {memory} MiB")
            path.unlink()
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
