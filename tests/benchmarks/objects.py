"""Collections as IDC stores them: one object per image, one folder per series."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import shutil
import struct
import uuid
from dataclasses import asdict
from pathlib import Path

from tcia_covid.catalog.series_catalog import COLUMNS
from tests.benchmarks.inputs import Input, Recipe, image_header, row

BUCKET = "idc-open-data"
CT_OBJECTS = Recipe("idcct", series=27, images=92, rows=312, columns=312)
"""2,484 images of 197 kB."""
RADIOGRAPH_OBJECTS = Recipe("idccr", series=24, images=1, rows=3000, columns=2500, modality="CR")
TINY_OBJECTS = Recipe("idctiny", series=2000, images=1, rows=512, columns=512, modality="CR")
_FORMAT = 1
"""Changes when older caches no longer serve."""


def folder_of(uid: str) -> str:
    """The crdc_series_uuid of a series."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, uid))


def prepare_objects(recipe: Recipe, cache: Path) -> Input:
    """Make a collection, its catalog and its registry, unless the cache has them."""
    shape = f"{recipe.series}x{recipe.images}x{recipe.rows}x{recipe.columns}"
    made = Input(recipe, cache / f"{recipe.name}-{shape}-objects-{_FORMAT}")
    if (made.folder / "done").exists():
        return made
    shutil.rmtree(made.folder, ignore_errors=True)
    listed, lines = {}, ["\t".join(COLUMNS)]
    for number, uid in enumerate(made.uids):
        listed[folder_of(uid)] = objects = _write_series(made, uid, number)
        lines.append(_catalog_line(recipe, uid, sum(size for _, size, _ in objects)))
    (made.folder / "objects.json").write_text(json.dumps(listed))
    (made.folder / "bench.tsv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (made.folder / "catalog.json").write_text(json.dumps(_catalog(made, listed)))
    registry = f"collections:\n  {recipe.collection}:\n    format: DICOM\n"
    (made.folder / "registry.yaml").write_text(registry)
    (made.folder / "done").write_text(json.dumps(asdict(recipe)))
    return made


def _write_series(made: Input, uid: str, seed: int) -> list[tuple[str, int, str]]:
    """Write the objects of a series; give the name, size and MD5 of each."""
    folder = made.folder / "objects" / folder_of(uid)
    folder.mkdir(parents=True)
    size = 2 * made.recipe.rows * made.recipe.columns
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, size)
    pixels += random.Random(seed).randbytes(size)
    objects = []
    for number in range(1, made.recipe.images + 1):
        content = image_header(made.recipe, uid, number) + pixels
        name = f"{uuid.uuid5(uuid.NAMESPACE_OID, f'{uid}.{number}')}.dcm"
        (folder / name).write_bytes(content)
        objects.append((name, len(content), hashlib.md5(content).hexdigest()))
    return objects


def _catalog_line(recipe: Recipe, uid: str, size: int) -> str:
    known = row(recipe, uid)
    values = {
        **known,
        "PatientID": known["PatientId"],
        "SeriesDate": "1901-02-03",
        "StudyDate": "1901-02-03",
        "license_short_name": "CC BY 4.0",
        "instanceCount": recipe.images,
        "series_size_bytes": size,
        "source_DOI": "10.7937/bench",
        "aws_bucket": BUCKET,
        "crdc_series_uuid": folder_of(uid),
    }
    return "\t".join(str(values.get(name, "")) for name in COLUMNS)


def _catalog(made: Input, listed: dict[str, list[tuple[str, int, str]]]) -> dict[str, object]:
    entry = {
        "collection": made.recipe.collection,
        "file": "bench.tsv.gz",
        "patients": min(1000, made.recipe.series),
        "studies": made.recipe.series,
        "series": made.recipe.series,
        "images": made.images,
        "size": sum(size for objects in listed.values() for _, size, _ in objects),
    }
    return {"version": "0", "idc_version": "0", "built": "2026-01-01", "entries": [entry]}
