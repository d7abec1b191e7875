"""Receipts: one JSON file a series, saying what stands in the tree and how it was checked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from tcia_covid.core.models import SERIES_NAMES, Check, Receipt, Series, StoredImage
from tcia_covid.store.disk import Disk

FORMAT = 2
"""Format 1 described the series under the names of its attributes."""
_DICOM = ".dcm"
_SUFFIXES = (_DICOM, ".nii.gz")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,79}")
"""UIDs, and the plain names that stand for them where images are no DICOM files."""
_MD5 = re.compile(r"[0-9a-f]{32}")
_NOT_IN_NAMES = frozenset("\\:\0")
_FORMAT_1 = {**SERIES_NAMES, "licence": "LicenseName", "licence_url": "LicenseURI"}


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A receipt as it is on file."""

    receipt: Receipt
    staged: str
    """The staging folder that the commit publishes; while it exists, that is not finished."""
    replaces: frozenset[str] = frozenset()
    """Files of the version before, in the same folder: the commit may replace or remove them."""


class Receipts:
    """The receipts of one collection's folder."""

    def __init__(self, folder: Path, disk: Disk, temporary: Path) -> None:
        self.folder = folder
        self._disk = disk
        self._temporary = temporary
        # Joining Paths takes as long as reading the file that they lead to.
        self._prefix = os.path.join(folder, "")  # noqa: PTH118

    def path(self, uid: str) -> Path:
        """Where the receipt of series `uid` is."""
        return self.folder / f"{uid}.json"

    def uids(self) -> list[str]:
        """The SeriesInstanceUIDs that have a receipt, sorted."""
        try:
            names = os.listdir(self.folder)  # noqa: PTH208 - makes a Path of each
        except FileNotFoundError:
            return []
        return sorted(n[:-5] for n in names if n.endswith(".json") and not n.startswith("."))

    def read(self, uid: str) -> StoredReceipt | None:
        """Read a receipt; None if there is none or it is damaged: then nothing is proved."""
        try:
            with FileIO(f"{self._prefix}{uid}.json") as file:
                filed = _from_document(json.loads(file.readall()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return filed if filed.receipt.series.uid == uid else None

    def all(self) -> Iterator[Receipt]:
        """Every readable receipt, by SeriesInstanceUID."""
        for uid in self.uids():
            filed = self.read(uid)
            if filed is not None:
                yield filed.receipt

    def write(self, filed: StoredReceipt) -> None:
        """Put a receipt on file, whole.

        A power cut may undo this where the series' folder is safe already: the next run then finds
        a folder that no receipt names, hashes its images and writes the receipt anew.
        """
        document = _to_document(filed)
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str)
        self._disk.make_folder(self.folder)
        path = self.path(filed.receipt.series.uid)
        self._disk.write_file(path, [text.encode(), b"\n"], self._temporary)


def _to_document(filed: StoredReceipt) -> dict[str, Any]:
    receipt = filed.receipt
    return {
        "format": FORMAT,
        "series": {k: v for k, v in receipt.series.to_dict().items() if v is not None},
        "folder": receipt.folder,
        "staged": filed.staged,
        **({"replaces": sorted(filed.replaces)} if filed.replaces else {}),
        "finished": receipt.finished,
        "program": receipt.program,
        "images": [_image_document(image) for image in receipt.images],
    }


def _image_document(image: StoredImage) -> dict[str, Any]:
    document = {"uid": image.uid, "size": image.size, "md5": image.md5}
    document |= {"check": image.check.value, "source": image.source}
    return document if image.suffix == _DICOM else {**document, "suffix": image.suffix}


def _from_document(document: dict[str, Any]) -> StoredReceipt:
    """Read a receipt; anyone may have written to the file, so nothing in it is trusted."""
    if document["format"] not in (1, FORMAT):
        raise ValueError(document["format"])
    series = document["series"]
    if document["format"] == 1:
        series = {_FORMAT_1.get(name, ""): value for name, value in series.items()}
    receipt = Receipt(
        series=Series.from_dict(series),
        folder=_inside(str(document["folder"])),
        images=tuple(_image(image) for image in document["images"]),
        finished=str(document["finished"]),
        program=str(document["program"]),
    )
    staged = str(document["staged"])
    if not _NAME.fullmatch(receipt.series.uid) or "/" in staged or "\\" in staged:
        raise ValueError(receipt.series.uid)
    return StoredReceipt(receipt, staged, frozenset(_file_names(document.get("replaces", []))))


def _file_names(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        suffix = next((one for one in _SUFFIXES if name.endswith(one)), None)
        if suffix is None or not _NAME.fullmatch(name.removesuffix(suffix)):
            raise ValueError(name)
        yield name


def _inside(folder: str) -> str:
    """Give a folder back if it is a plain path below the collection's folder."""
    parts = folder.split("/")
    if any(
        part in ("", ".", "..") or part[0] == "." or set(part) & _NOT_IN_NAMES for part in parts
    ):
        raise ValueError(folder)
    return folder


def _image(document: dict[str, Any]) -> StoredImage:
    uid, size, md5 = document["uid"], document["size"], document["md5"]
    suffix = document.get("suffix", _DICOM)
    named = _NAME.fullmatch(uid) and suffix in _SUFFIXES
    if not (named and type(size) is int and size >= 0 and _MD5.fullmatch(md5)):
        raise ValueError(uid)
    check, source = Check(document["check"]), str(document["source"])
    return StoredImage(uid, size, md5, check, source, suffix)
