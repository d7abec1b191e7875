"""Measures `report` on a synthetic tree with the 20,001 series of the shipped catalog.

    python -m tests.benchmarks.report /tmp/report-tree
    python -m tests.benchmarks.report /tmp/report-tree --series 2000 --jobs 1

CT and MR series get five slices of 192 x 192 pixels, others one image of 384 x 384: 20,001 series
need 7 GB. An existing tree is used again. The first report reads every header and decodes one
image per series, the second one finds all in the cache.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import resource
import shutil
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tcia_covid.catalog import series_catalog
from tcia_covid.core.models import Check, Receipt, StoredImage
from tcia_covid.store.disk import Disk
from tcia_covid.store.receipts import StoredReceipt
from tcia_covid.store.tree import Tree
from tests.fakes.browser import CHROMIUM, DRIVER, Browser

SLICES = 5
CT, RADIOGRAPH = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1.1"


def main() -> None:
    """Make the tree, write the report twice, and open it in Chromium."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--series", type=int, default=20_001)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if not options.directory.exists():
        started = time.monotonic()
        make_tree(options.directory, options.series)
        print(f"tree made in {time.monotonic() - started:.0f} s")
    for cache in options.directory.glob("*/.tcia-covid/thumbnails"):
        shutil.rmtree(cache)
    for name in ("first", "second"):
        measure(name, options.directory, options.jobs)
    page = options.directory / "report" / "index.html"
    page = page if page.exists() else options.directory / "report.html"
    print(f"page: {page.stat().st_size / 1e6:.1f} MB")
    if CHROMIUM and DRIVER:
        paint(page)


def measure(name: str, directory: Path, jobs: int) -> None:
    """Run the command; print wall time, CPU and the memory of this process and its workers."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "tcia_covid", "report", directory, "--jobs", str(jobs), "-q"]
    subprocess.run([*command, "--json"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{name} report: {time.monotonic() - started:.1f} s, CPU {cpu:.1f} s, "
        f"largest process {after.ru_maxrss / 1e3:.0f} MB"
    )


def paint(page: Path) -> None:
    """Print when Chromium shows the page, and how long search takes."""
    with Browser() as browser:
        started = time.monotonic()
        browser.open(page)
        loaded = time.monotonic() - started
        script = "return performance.getEntriesByType('paint').map(e => [e.name, e.startTime])"
        print(f"loaded in {loaded:.2f} s; {json.dumps(browser.run(script))} ms")
        script = """
            const query = document.getElementById("query"), started = performance.now();
            query.value = "chest ct";
            document.getElementById("filters").dispatchEvent(new Event("input"));
            return new Promise((done) => setTimeout(() => done([performance.now() - started - 80,
                document.getElementById("count").textContent,
                performance.memory.usedJSHeapSize / 1e6]), 81));
        """
        milliseconds, count, heap = browser.run(script)
        print(f"search: {milliseconds:.0f} ms ({count}); JavaScript heap {heap:.0f} MB")
        print("console:", browser.console())


def make_tree(directory: Path, number: int) -> None:
    """Write a tree as a download leaves it."""
    rows = (
        series
        for entry in series_catalog.info().entries
        for series in series_catalog.load(entry.collection)
    )
    disk = Disk(durable=False)
    slices = [template(number, 192, 192) for number in range(SLICES)]
    radiograph = template(None, 384, 384)
    trees: dict[str, Tree] = {}
    for index, series in enumerate(islice(rows, number)):
        tree = trees.get(series.collection)
        if tree is None:
            tree = trees[series.collection] = Tree(directory / series.collection, disk=disk)
            tree.prepare()
        folder = f"{series.patient}/{series.study}/{series.uid}"
        place = tree.root / folder
        place.mkdir(parents=True)
        kinds = slices if series.modality in {"CT", "MR"} else [radiograph]
        images = []
        for head, pixels in kinds:
            uid = f"1.2.3.{index}.{len(images)}"
            content = head + (pixels + np.uint16(index % 997)).tobytes()
            content += index.to_bytes(8, "little")
            (place / f"{uid}.dcm").write_bytes(content)
            md5 = hashlib.md5(content).hexdigest()
            images.append(StoredImage(uid, len(content), md5, Check.MD5, "idc"))
        receipt = Receipt(series, folder, tuple(images), "2026-01-01T00:00:00Z", "benchmark")
        tree.receipts.write(StoredReceipt(receipt, ""))


def template(number: int | None, rows: int, columns: int) -> tuple[bytes, np.ndarray]:
    """The bytes of a file up to its pixels, and pixels with something like a chest."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CT if number is not None else RADIOGRAPH
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = "1.2.3"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3"
    dataset.Modality = "CT" if number is not None else "DX"
    if number is None:
        dataset.ViewPosition = "AP"
        dataset.InstanceNumber = 1
    else:
        dataset.InstanceNumber = number + 1
        dataset.ImagePositionPatient = [0, 0, 2.5 * number]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing = [0.8, 0.8]
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored = 1, 16, 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.WindowCenter, dataset.WindowWidth = 1500, 3000
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    body = ((x / 0.9) ** 2 + (y / 0.7) ** 2 < 1) * 1500.0
    for side in (-0.42, 0.42):
        body -= (((x - side) / 0.3) ** 2 + (y / 0.5) ** 2 < 1) * 900.0
    noise = np.random.default_rng(number or 0).normal(0, 60, body.shape)
    pixels = np.clip(body + noise + 200, 0, 4000).astype("uint16")
    dataset.PixelData = pixels.tobytes() + bytes(8)
    output = io.BytesIO()
    dataset.save_as(output, enforce_file_format=True)
    return output.getvalue()[: -len(dataset.PixelData)], pixels


if __name__ == "__main__":
    main()
