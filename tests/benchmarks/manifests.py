"""`python -m tests.benchmarks.manifests [KIND...]`: look up manifests of 1,000,000 lines.

The figures are for docs/scale.md.

Prints size, CPU time and memory for each kind. Ends with 1 if one takes 10 s of CPU or 300 MB.
Lock files are read with the version of each series.
"""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import tempfile
import uuid
import zipfile
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
pinned = "lock" in sys.argv[1]
target, = parse_targets([sys.argv[1]], registry, pinned=pinned)
assert len(target.pins) == (len(target.uids) + sum(map(len, target.unlisted.values()))) * pinned
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


def values() -> Iterator[dict[str, object]]:
    """Yield what lines have of a series."""
    for uid, folder in zip(uids(), uuids(), strict=True):
        yield {"uid": uid, "folder": folder, "size": int(uid[-6:]), "md5": folder.replace("-", "")}


def lines(header: str, line: str, end: str = "") -> Iterator[str]:
    """Yield the lines of a manifest, without a list: a process inherits the peak of its parent."""
    yield header
    for each in values():
        yield line.format(**each)
    yield end


_LOCK = "SeriesInstanceUID,ImageCount,FileSize,crdc_series_uuid,series_hash\n"
_LOCK_ROW = "{uid},92,{size},{folder},{md5}\n"
_LOCK_OBJECT = (
    '{{"SeriesInstanceUID": "{uid}", "ImageCount": 92, "FileSize": {size}, '
    '"crdc_series_uuid": "{folder}", "series_hash": "{md5}"}}'
)
_SHEET = "<worksheet><sheetData><row><c t='inlineStr'><is><t>SeriesInstanceUID</t></is></c></row>"
_CELL = "<row><c t='inlineStr'><is><t>{uid}</t></is></c></row>"
_WORKBOOK = {
    "[Content_Types].xml": "<Types/>",
    "xl/workbook.xml": "<workbook xmlns:r='http://schemas.openxmlformats.org/officeDocument/2006/"
    "relationships'><sheets><sheet name='A' sheetId='1' r:id='r'/></sheets></workbook>",
    "xl/_rels/workbook.xml.rels": "<Relationships><Relationship Id='r' Type='worksheet' "
    "Target='worksheets/sheet1.xml'/></Relationships>",
}
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
    "lock.csv": lambda: lines(_LOCK, _LOCK_ROW),
    "lock.json": lambda: lines(
        "[", f"{_LOCK_OBJECT},\n", _LOCK_OBJECT.format(**next(values())) + "]"
    ),
    "lock.jsonl": lambda: lines("", f"{_LOCK_OBJECT}\n"),
    "lock.csv.gz": lambda: lines(_LOCK, _LOCK_ROW),
    "lock.zip": lambda: lines(_LOCK, _LOCK_ROW),
    "xlsx": lambda: lines(_SHEET, _CELL, "</sheetData></worksheet>"),
}


def write(path: Path, content: Iterator[str]) -> None:
    """Write a manifest; its suffix says whether it is compressed."""
    if path.suffix == ".gz":
        with gzip.open(path, "wt") as text:
            text.writelines(content)
    elif path.suffix in (".zip", ".xlsx"):
        is_sheet = path.suffix == ".xlsx"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, small in _WORKBOOK.items() if is_sheet else ():
                archive.writestr(name, small)
            with archive.open("xl/worksheets/sheet1.xml" if is_sheet else "list.csv", "w") as file:
                file.writelines(line.encode() for line in content)
    else:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(content)


def main() -> int:
    """Measure every format; give the exit code."""
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        for suffix in sys.argv[1:] or FORMATS:
            content = FORMATS[suffix]
            path = Path(folder) / f"manifest.{suffix}"
            write(path, content())
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
