"""Hostile input: manipulated responses, registries and receipts.

ZIP streams, DICOM headers and manifests are mutated in the tests of their readers. All of it runs
longer with `pytest --hypothesis-profile=long -k "mutat or hostile"`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcia_covid.archives.nbia.archive import read_rows, read_series
from tcia_covid.catalog.registry import load_registry, read_registry_file, shipped_file
from tcia_covid.core.errors import ArchiveError, RegistryError, RequestError
from tcia_covid.store.tree import Tree

ROW = {
    "SeriesInstanceUID": "1.2.3",
    "StudyInstanceUID": "1.2",
    "PatientID": "P",
    "Collection": "C",
    "ImageCount": 3,
    "FileSize": 300,
    "SeriesDate": "01-02-1900",
    "SeriesNumber": "5.000000",
}
TEXT = st.text(max_size=20) | st.sampled_from(["\ud800", "a\0b", "../x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*ROW, "x"]), inner, max_size=6)
    ),
    max_leaves=20,
)


class Body:
    """An answer whose body is there already."""

    url = "http://archive.example/getSeries"

    def __init__(self, body: bytes) -> None:
        self._body = body

    def chunks(self, limit: int) -> Iterator[bytes]:
        assert len(self._body) <= limit
        for start in range(0, len(self._body), 1000):
            yield self._body[start : start + 1000]


def mutated(content: bytes, edits: list[tuple[int, int]]) -> bytes:
    """`content` with bytes overwritten; the last edit also cuts it."""
    changed = bytearray(content)
    for place, value in edits:
        changed[place % len(changed)] = value
    return bytes(changed[: 1 + edits[-1][0] % len(changed)]) if edits else bytes(changed)


EDITS = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=4)


@given(JSON)
def test_fault_13_hostile_json_is_read_or_refused(document: object) -> None:
    body: Any = Body(json.dumps(document).encode())
    with contextlib.suppress(ArchiveError):
        read_rows(body)
    with contextlib.suppress(ArchiveError):
        for series in read_series(body):
            "".join(filter(None, (series.patient, series.collection, series.description))).encode()


@given(EDITS)
def test_fault_13_mutated_lists_are_read_or_refused(edits: list[tuple[int, int]]) -> None:
    body: Any = Body(mutated(json.dumps([ROW, ROW]).encode(), edits))
    with contextlib.suppress(ArchiveError):
        read_series(body)


def test_fault_13_a_list_nested_without_end_is_refused() -> None:
    body: Any = Body(b"[" * 1_000_000)
    with pytest.raises(ArchiveError):
        read_series(body)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(EDITS)
def test_fault_27_mutated_registries_are_read_or_refused(
    tmp_path: Path, edits: list[tuple[int, int]]
) -> None:
    shipped = shipped_file().read_bytes()[:4000]
    file = tmp_path / "registry.yaml"
    file.write_bytes(mutated(shipped, edits))
    with contextlib.suppress(RegistryError):
        read_registry_file(file)
    with contextlib.suppress(RequestError):
        load_registry([file])


RECEIPT = {
    "format": 2,
    "series": {
        "SeriesInstanceUID": "1.2.3",
        "Collection": "C",
        "PatientID": "P",
        "StudyInstanceUID": "1.2",
    },
    "folder": "P/1.2/1.2.3",
    "staged": "run",
    "finished": "2026-01-01T00:00:00Z",
    "program": "p",
    "images": [{"uid": "1.2.3.1", "size": 3, "md5": "0" * 32, "check": "md5", "source": "nbia"}],
}
PLACES = st.sampled_from(
    [
        *("folder", "staged", "images", "series", "format", "uid", "size", "md5"),
        *("LicenseName", "SeriesNumber"),
    ]
)
VALUES = JSON | st.sampled_from(["../../x", "/etc", "a/../../b", "..", "C:\\x", "a\0b", "-1"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLACES, VALUES)
def test_fault_24_hostile_receipts_are_not_trusted(
    tmp_path: Path, place: str, value: object
) -> None:
    document = json.loads(json.dumps(RECEIPT))
    target = document["images"][0] if place in ("uid", "size", "md5") else document
    target = document["series"] if place in ("LicenseName", "SeriesNumber") else target
    target[place] = value
    tree = Tree(tmp_path / "C")
    tree.receipts.folder.mkdir(parents=True, exist_ok=True)
    tree.receipts.path("1.2.3").write_text(json.dumps(document), encoding="utf-8")
    filed = tree.receipts.read("1.2.3")
    if filed is not None:
        assert tmp_path in tree.path(filed.receipt).resolve().parents
        hash(filed.receipt)
    assert tree.complete_receipt("1.2.3") is None
