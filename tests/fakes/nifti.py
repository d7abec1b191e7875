"""Volumes as in the packages: small NIfTI-1 files, intact and damaged."""

from __future__ import annotations

import gzip
import hashlib
import math
import random
import struct
from collections.abc import Mapping
from pathlib import Path

from tcia_covid.catalog.collections import AsperaLocation, Collection
from tcia_covid.catalog.licenses import License

PATTERN = "volume-covid19-A-NNNN[_0|_1|_dayDDD].nii.gz"
NAME = "CT Images in COVID-19"


def nifti(
    *,
    shape: tuple[int, ...] = (8, 8, 4),
    datatype: int = 4,
    bits: int = 16,
    order: str = "<",
    magic: bytes = b"n+1\0",
    offset: float = 352.0,
    size: int = 348,
    dimensions: tuple[int, ...] | None = None,
    voxels: bytes | None = None,
    seed: int = 0,
) -> bytes:
    """An uncompressed volume."""
    head = bytearray(352)
    struct.pack_into(f"{order}i", head, 0, size)
    dims = dimensions or (len(shape), *shape, *(1,) * (7 - len(shape)))
    struct.pack_into(f"{order}8h", head, 40, *dims)
    struct.pack_into(f"{order}2h", head, 70, datatype, bits)
    struct.pack_into(f"{order}f", head, 108, offset)
    head[344:348] = magic
    if voxels is None:
        voxels = random.Random(seed).randbytes(math.prod(shape) * bits // 8)
    return bytes(head) + voxels


def volume(seed: int = 0, **how: object) -> bytes:
    """A volume as it is published."""
    return gzip.compress(nifti(seed=seed, **how), mtime=0)  # type: ignore[arg-type]


def name(patient: int, tail: str = "") -> str:
    """A volume's file name."""
    return f"volume-covid19-A-{patient:04d}{tail}.nii.gz"


def collection(*, patients: int | None = 3, volumes: int | None = 4, **more: object) -> Collection:
    """A small collection of volumes."""
    facts = {
        "slug": "ct-images-in-covid-19",
        "doi": "10.7937/TCIA.2020.GQRY-NC81",
        "page": "https://www.cancerimagingarchive.net/collection/ct-images-in-covid-19/",
        "license": License("CC BY 4.0", commercial_use=True, url="https://example.org/by"),
        "modalities": ("CT",),
        "aspera": AsperaLocation(packages=2, file_pattern=PATTERN),
        **more,
    }
    return Collection(NAME, "NIfTI", NAME, patients=patients, volumes=volumes, **facts)  # type: ignore[arg-type]


def whole() -> dict[str, bytes]:
    """All volumes of that collection, by name: two single ones, and a patient of two days."""
    return {
        name(1): volume(1),
        name(2, "_0"): volume(2),
        name(700, "_day000"): volume(3),
        name(700, "_day012"): volume(4),
    }


def sums(files: Mapping[str, bytes], folder: str = "CT-Covid-19-August2020") -> bytes:
    """A package's `.sums` file."""
    lines = [f"{hashlib.md5(data).hexdigest()}  {folder}/{file}\n" for file, data in files.items()]
    return "".join(lines).encode()


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Put files into a folder."""
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
