"""Manifests for tests: written to files, read and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.core.errors import ManifestError
from tcia_covid.selection.manifests.model import Manifest
from tcia_covid.selection.manifests.read import read_manifest

DATA = Path(__file__).parents[2] / "data" / "manifests"
SERIES = (
    "1.3.6.1.4.1.14519.5.2.1.9999.103.2772748514240373421475911810044",
    "1.3.6.1.4.1.14519.5.2.1.9999.103.2226892066207840840424092100046",
    "1.3.6.1.4.1.14519.5.2.1.9999.103.7910615066871902088015121404116",
    "1.2.826.0.1.3680043.10.474.419639.268029058780754319822209542539",
)
"""The four series of most files in `tests/data/manifests`."""
A, B = SERIES[:2]
STUDY = "1.3.6.1.4.1.14519.5.2.1.9999.103.1990954697724761389044939165366"
NAME = "SeriesInstanceUID"
UUIDS = (
    "35823972-03f1-41e3-8ab2-418c862ec07c",
    "4bb40671-01d6-4d50-acd7-86381b3de21e",
    "852b3536-b956-4a44-971c-1502ec6c4db2",
    "841e50fe-8693-45b1-b84e-0ea7ec4e7015",
)
ADDRESSES = tuple(f"s3://idc-open-data{'-cr' if uuid == UUIDS[3] else ''}/{uuid}" for uuid in UUIDS)


def read(folder: Path, name: str, content: str | bytes, **options: object) -> Manifest:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_manifest(path, **options)  # type: ignore[arg-type]


def found(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    return {kind: tuple(values) for kind, values in manifest.identifiers.items()}


def refusal(folder: Path, name: str, content: str | bytes) -> ManifestError:
    with pytest.raises(ManifestError) as raised:
        read(folder, name, content)
    return raised.value


def cells(*values: str) -> str:
    """Rows of two cells."""
    pairs = zip(values[::2], values[1::2], strict=True)
    return "".join(
        f'<row><c t="str"><v>{first}</v></c><c t="str"><v>{second}</v></c></row>'
        for first, second in pairs
    )
