"""Receipts of supporting files: what each is, where it came from, how it was checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from tcia_covid.store import Tree
from tcia_covid.store.adoption import hash_file
from tcia_covid.supporting import FOLDER

_FORMAT = 1


class FileCheck(str, Enum):
    """How a supporting file was checked; ordered strongest first."""

    SHA256 = "sha256"
    """It has the SHA-256 that is on record."""
    SIZE = "size"
    """It has the bytes that are on record; no hash is."""
    NONE = "unchecked"
    """Nothing is on record: what the server sent is what stands."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file that was unpacked."""

    file: str
    """Relative to the folder of supporting files, with forward slashes."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileReceipt:
    """What is known of a supporting file."""

    key: str
    """What of the registry, or of the site's list, it is."""
    file: str
    """Its name in the folder of supporting files."""
    original: str
    """Its name as published."""
    title: str
    kind: str
    source: str
    """`registry` or `site`: who knew its address."""
    url: str
    """Without the query, which may hold a signature."""
    size: int
    sha256: str
    check: FileCheck
    finished: str
    """UTC, ISO 8601."""
    program: str
    members: tuple[Member, ...] = ()
    """What a ZIP was unpacked to."""

    @property
    def stated(self) -> tuple[Member, ...]:
        """All files that the receipt accounts for: the one that came, and what was unpacked."""
        return (Member(self.file, self.size, self.sha256), *self.members)


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not as its receipt says."""

    file: str
    """Relative to the collection's folder, with forward slashes."""
    detail: str = ""
    is_missing: bool = False


class FileReceipts:
    """The receipts of one collection's supporting files.

    Args:
        tree: the collection's folder.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.files = tree.root / FOLDER
        self.folder = tree.state / FOLDER

    def all(self) -> Iterator[FileReceipt]:
        """Every readable receipt, by file name."""
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            try:
                yield _read(json.loads(path.read_bytes()))
            except (OSError, ValueError, TypeError, KeyError):
                continue

    def find(self, key: str) -> FileReceipt | None:
        """The receipt of what `key` means."""
        return next((one for one in self.all() if one.key == key), None)

    def write(self, receipt: FileReceipt) -> None:
        """Put a receipt on file."""
        document = {"format": _FORMAT, **asdict(receipt), "check": receipt.check.value}
        text = json.dumps(document, indent=1, ensure_ascii=False)
        self._tree.disk.make_folder(self.folder)
        self._tree.write_file(self.folder / f"{receipt.file}.json", text.encode())

    def differing(self, receipt: FileReceipt) -> Iterator[Difference]:
        """The files of a receipt that are not as it says; each is hashed."""
        for one in receipt.stated:
            file = f"{FOLDER}/{one.file}"
            try:
                found = hash_file(self.files / one.file, "sha256")
            except FileNotFoundError:
                yield Difference(file, is_missing=True)
            except OSError as error:
                yield Difference(file, error.strerror or str(error))
            else:
                if found != (one.size, one.sha256):
                    yield Difference(file, "its bytes are not those of its receipt")


def _read(document: dict[str, Any]) -> FileReceipt:
    """Read a receipt; anyone may have written to the file, so nothing in it is trusted."""
    if document.pop("format") != _FORMAT:
        raise ValueError
    document["check"] = FileCheck(document["check"])
    document["members"] = tuple(Member(**one) for one in document["members"])
    receipt = FileReceipt(**document)
    for name in (receipt.file, *(one.file for one in receipt.members)):
        if not all(_is_plain(part) for part in name.split("/")):
            raise ValueError(name)
    if "/" in receipt.file or not isinstance(receipt.size, int):
        raise ValueError(receipt.file)
    return receipt


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and not set(part) & set("\\:\0")
