"""The report files of a collection's folder: whether they are out of date, and writing them.

The stamp (`reports.json` in the state folder) has the size and MD5 of each report file. It is
written last, and removed before any change of which series are in place: without a stamp the
reports are out of date. It has no times in it, so a copy of a tree is as current as the tree was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from tcia_covid.catalog.citation import format_citation
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    DestinationError,
    InterruptedRunError,
    LockedError,
    TciaCovidError,
)
from tcia_covid.core.files import open_regular
from tcia_covid.core.models import Receipt
from tcia_covid.formats.hashes import hash_file
from tcia_covid.store import croissant
from tcia_covid.store.combined_metadata import COMBINED, CombinedMetadata
from tcia_covid.store.disk import UNUSABLE_JSON, destination_error, destination_errors, read_json
from tcia_covid.store.locks import Lock
from tcia_covid.store.quarantine import move_aside
from tcia_covid.store.report_files import (
    LicenseTerms,
    image_rows,
    images_header,
    license_file,
    manifest,
    metadata,
    metadata_columns,
    unregistered_collection,
)
from tcia_covid.store.tree import Tree
from tcia_covid.store.windows import file_in_use

METADATA = "metadata.csv"
IMAGES = "images.csv"
MANIFEST = "manifest-md5.txt"
LICENSE = "LICENSE.txt"
CITATION = "CITATION.bib"
CROISSANT = "croissant.json"
REPORT_FILES = (METADATA, IMAGES, MANIFEST, LICENSE, CITATION, CROISSANT)
_DESCRIBED = {
    METADATA: ("text/csv", "One row per complete series."),
    IMAGES: ("text/csv", "One row per image, in slice order."),
    MANIFEST: ("text/plain", "The MD5 of every image, for md5sum -c."),
}
"""The files that croissant.json describes: their media types, and what they are."""
Notify = Callable[[str], None]
"""Receives a message to the user."""
_ATTEMPTS = 3
"""How often the reports are written while other runs continue committing series."""
_POLL = 0.1
_AFTER_SIGNAL = 1.6
"""Seconds after a signal in which reports are still written; the program ends within 2."""
_A_DAY = 24 * 3600.0
_BLOCK = 64 * 1024
"""Bytes that are written at once."""
_NOT_WRITTEN = -1
"""As a file's size in the stamp: the report is out of date."""


class WrittenFile(TypedDict):
    """The size and hash of a report file when it was written."""

    size: int
    md5: str


def outdated_reports(tree: Tree, *, by_hash: bool = False) -> list[str]:
    """The report files that are missing or changed; all of them if a series changed since.

    Takes a few `stat` calls, however many series there are.

    Args:
        tree: the collection's folder.
        by_hash: also read the files, to find changes that keep the size.
    """
    stamp = _read_stamp(tree)
    if stamp is None:
        return [] if tree.receipts.is_empty() else [*REPORT_FILES]
    outdated = [
        name for name in REPORT_FILES if _differs(tree.root / name, stamp[name], by_hash=by_hash)
    ]
    return [*outdated, *([COMBINED] if CombinedMetadata(tree).is_outdated() else [])]


def manifest_was_changed(tree: Tree) -> bool:
    """Whether manifest-md5.txt differs from the receipts, although no series changed since."""
    path = tree.root / MANIFEST
    if not path.is_file() or _read_stamp(tree) is None:
        return False
    with open(path, "rb", opener=open_regular) as file:
        lines = manifest(tree.receipts.all())
        same = all(file.read(len(line)) == line for line in lines) and not file.read(1)
    return not same and _read_stamp(tree) is not None


def _differs(path: Path, written: WrittenFile, *, by_hash: bool) -> bool:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != written["size"]:
            return True
        return by_hash and hash_file(path, "md5")[1] != written["md5"]
    except OSError:
        return True


def _read_stamp(tree: Tree) -> dict[str, WrittenFile] | None:
    """The written files by name; None while the reports are out of date."""
    try:
        stamp = read_json(tree.reports_stamp)
        return {
            name: {"size": stamp[name]["size"], "md5": stamp[name]["md5"]} for name in REPORT_FILES
        }
    except UNUSABLE_JSON:
        return None


def update_reports(
    tree: Tree,
    collection: Collection | None,
    registry: Registry,
    stop: CancelToken,
    notify: Notify = lambda text: None,
    on_receipt: Callable[[Receipt], None] = lambda receipt: None,
) -> bool:
    """Write the reports if they are out of date; whether they are current in the end.

    `on_receipt` is called with the receipts that they are written from.

    After a signal they are written only if that takes no longer than the program has to end: the
    reports of a thousand series take 0.2 s. Otherwise they stay recorded as out of date.

    Raises:
        DestinationError: the folder cannot be written.
    """
    interrupted = isinstance(stop.reason, InterruptedRunError)
    until = stop.since + _AFTER_SIGNAL if interrupted else None
    with destination_errors(str(tree.root)):
        if set(outdated_reports(tree)) - {COMBINED}:
            try:
                write_reports(
                    tree, collection, registry, notify, on_receipt, until=until, stop=stop
                )
            except OutOfTimeError:
                return False
        if not interrupted:
            CombinedMetadata(tree).update(notify)
        return not outdated_reports(tree)


@contextmanager
def reports_at_end(write: Callable[[], None]) -> Iterator[None]:
    """Write the reports when the block ends, also if the run was canceled; not if a disk failed."""
    try:
        yield
    except DestinationError:
        raise
    except TciaCovidError:
        with contextlib.suppress(DestinationError):
            write()
        raise
    write()


def outdated_notice(tree: Tree) -> str:
    """The message to the user if the reports could not be written in time."""
    return (
        f"the report files in {tree.root} are out of date: the same command, or the next "
        "'tcia-covid download' of the collection, writes them"
    )


class OutOfTimeError(Exception):
    """The time to write the reports is over."""


def write_reports(
    tree: Tree,
    collection: Collection | None,
    registry: Registry,
    notify: Notify = lambda text: None,
    on_receipt: Callable[[Receipt], None] = lambda receipt: None,
    *,
    until: float | None = None,
    stop: CancelToken | None = None,
    lock_timeout: float = 60.0,
) -> None:
    """Write metadata.csv, images.csv, manifest-md5.txt and the others from the receipts.

    Each file is replaced as a whole. While another process writes them this one waits, and writes
    them again only if the other had not seen the latest receipt. A file of one of these names that
    this program did not write, or that was changed, is moved aside in its folder.

    Args:
        tree: the collection's folder.
        collection: its entry in the registry; None if there is none.
        registry: the whole registry, for TCIA's own citation.
        notify: called with the new path of a file that was moved aside.
        on_receipt: called with each receipt; again where a series changed meanwhile.
        until: when to give up, in seconds of the monotonic clock.
        stop: when it is set, no further headers are read, and images.csv may stay out of date.
        lock_timeout: seconds to wait for another run that writes them.

    Raises:
        OutOfTimeError: that time is reached.
        DestinationError: the folder cannot be written.
    """
    writer = _ReportWriter(
        tree, collection, registry, notify, on_receipt, until, stop or CancelToken()
    )
    locks = tree.state / "locks"
    deadline = time.monotonic() + lock_timeout
    try:
        while time.monotonic() < deadline:
            tree.disk.make_folder(locks)
            try:
                with Lock(locks / "reports.lock", f"the reports of {tree.root}"):
                    writer.write_until_current()
                return
            except LockedError:
                writer.check_time()
                time.sleep(_POLL)
                if not outdated_reports(tree):
                    return
        # The process with the lock hangs. Two writers are harmless: both write the same.
        writer.write_until_current()
    except OSError as error:
        raise destination_error(error, str(tree.root)) from error


@dataclass(slots=True)
class _Contents(croissant.Contents):
    """What the receipts in a report have in common."""

    terms: set[LicenseTerms] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    """Of the collection, as archives spell it."""
    without_headers: int = 0
    """Series whose receipt has no attributes of their images."""


@dataclass(slots=True)
class _ReportWriter:
    """Writes the reports of one tree; the fields are the arguments of `write_reports`."""

    tree: Tree
    collection: Collection | None
    registry: Registry
    notify: Notify
    on_receipt: Callable[[Receipt], None]
    until: float | None
    stop: CancelToken
    written: dict[str, WrittenFile] = field(default_factory=dict)
    hashed: dict[str, tuple[int, str]] = field(default_factory=dict)
    """The bytes and the SHA-256 of each file, by name."""
    in_use: set[str] = field(default_factory=set)
    """Names of reports that another program has open."""
    has_notified: bool = False
    """Whether a message said that headers are read."""

    @property
    def _records(self) -> Path:
        """Has an empty file `<name>.<MD5>` for each report file that this program wrote."""
        return self.tree.state / "reports"

    def check_time(self) -> None:
        """Raise `OutOfTimeError` if the time is over."""
        if self.until is not None and time.monotonic() > self.until:
            raise OutOfTimeError

    def write_until_current(self) -> None:
        """Write the reports, and again if series changed meanwhile, a few times."""
        tree = self.tree
        for _ in range(_ATTEMPTS):
            tree.disk.remove(tree.reports_begun)
            with contextlib.suppress(FileExistsError):  # another writer, where locks do not work
                tree.disk.create(tree.reports_begun).close()
            is_complete = self._write()
            # A change of a series removes this file, so that no change is overlooked.
            with contextlib.suppress(FileNotFoundError):
                with tree.disk.open_existing(tree.reports_begun, "r+b") as file:
                    written = self.written if is_complete else None
                    tree.disk.write(file, json.dumps(written).encode())
                tree.disk.replace(tree.reports_begun, tree.reports_stamp)
                return

    def _write(self) -> bool:
        """Write the reports once; False if a series was left out that is being replaced."""
        contents, tree = _Contents(), self.tree
        name = self.collection.name if self.collection else ""
        # Each receipt is read once.
        with self._replace(MANIFEST) as write_manifest, self._replace(IMAGES) as write_images:
            write_images(images_header())
            receipts = self._receipts(contents, write_manifest, write_images)
            rows = metadata(receipts, name, keep_formulas=tree.keep_formulas)
            self._put(METADATA, rows)
        if contents.without_headers:
            self.written[IMAGES]["size"] = _NOT_WRITTEN
        known = self.collection or unregistered_collection(
            min(contents.names, default=tree.root.name), contents.terms
        )
        self._put(LICENSE, [license_file(known, contents.terms)])
        self._put(CITATION, [format_citation(known, self.registry, "bibtex").encode()])
        self._put(CROISSANT, [self._croissant(known, contents, metadata_columns(name))])
        return contents.series == len(tree.receipts.uids())

    def _croissant(
        self, collection: Collection, contents: _Contents, columns: tuple[str, ...]
    ) -> bytes:
        files = [
            croissant.DescribedFile(name, *facts, *self.hashed[name])
            for name, facts in _DESCRIBED.items()
        ]
        return croissant.croissant(collection, self.registry, contents, METADATA, columns, files)

    def _receipts(
        self,
        contents: _Contents,
        write_manifest: Callable[[bytes], None],
        write_images: Callable[[bytes], None],
    ) -> Iterator[Receipt]:
        """The receipts whose series' folder exists; the rows of their images are written."""
        for stored in self.tree.receipts.all():
            if not _has_folder(self.tree, stored):
                continue
            receipt = self._with_headers(stored)
            self.on_receipt(receipt)
            contents.series += 1
            contents.images += len(receipt.images)
            contents.size += receipt.size
            contents.terms.add(LicenseTerms.of(receipt.series))
            contents.names.add(receipt.series.collection)
            for lines in manifest([receipt]):
                write_manifest(lines)
            contents.without_headers += receipt.headers is None and receipt.is_dicom
            write_images(image_rows(receipt, keep_formulas=self.tree.keep_formulas))
            yield receipt

    def _with_headers(self, receipt: Receipt) -> Receipt:
        """The receipt with the attributes of its images.

        Receipts of versions that wrote no images.csv have none: their images are read, once.
        """
        if receipt.headers is not None or not receipt.is_dicom:
            return receipt
        if self.stop.is_set() or self.tree.foreign_link(receipt):
            return receipt
        if not self.has_notified:
            self.has_notified = True
            self.notify(f"reading headers of images in {self.tree.root} once, for {IMAGES}")
        receipt = self.tree.with_headers(receipt)
        self.tree.record_headers(receipt)
        return receipt

    def _put(self, name: str, content: Iterable[bytes]) -> None:
        with self._replace(name) as write:
            for block in content:
                write(block)

    @contextmanager
    def _replace(self, name: str) -> Iterator[Callable[[bytes], None]]:
        """Give a function that writes to a report file, which is put in place at the end.

        One that another program has open, such as Excel, stays as it is; the next run replaces it.
        """
        digest, size = hashlib.md5(usedforsecurity=False), 0
        sha256, block = hashlib.sha256(), bytearray()
        try:
            with self.tree.disk.replacing(self.tree.root / name, self.tree.temporary) as write:

                def flush() -> None:
                    nonlocal size
                    write(bytes(block))
                    digest.update(block)
                    sha256.update(block)
                    size += len(block)
                    block.clear()

                def add(data: bytes) -> None:
                    self.check_time()
                    block.extend(data)
                    if len(block) >= _BLOCK:
                        flush()

                yield add
                flush()
                self.hashed[name] = (size, sha256.hexdigest())
                self._record(name, digest.hexdigest())
                self._move_foreign(name)
        except OSError as error:
            path = file_in_use(error)
            if not path:
                raise
            self.written[name] = {"size": _NOT_WRITTEN, "md5": ""}
            if name not in self.in_use:
                self.in_use.add(name)
                self.notify(f"{path} is open in another program: the next run brings it up to date")
            return
        self.written[name] = {"size": size, "md5": digest.hexdigest()}
        self._remove_old_records(name, digest.hexdigest())

    def _record(self, name: str, md5: str) -> None:
        """Record that a file with this MD5 is this program's, before it is put in place."""
        self.tree.disk.make_folder(self._records)
        with contextlib.suppress(FileExistsError):
            self.tree.disk.create(self._records / f"{name}.{md5}").close()

    def _move_foreign(self, name: str) -> None:
        """Move a file aside that this program did not write, or that was changed."""
        path = self.tree.root / name
        if not os.path.lexists(path):
            return
        if path.is_file():
            _, md5 = hash_file(path, "md5")
            if (self._records / f"{name}.{md5}").exists():
                return
        self.notify(move_aside(self.tree.disk, path))

    def _remove_old_records(self, name: str, md5: str) -> None:
        """Remove records of versions that no other run is still writing."""
        for record in list(self._records.glob(f"{name}.*")):
            with contextlib.suppress(OSError):
                old = time.time() - record.stat().st_mtime > _A_DAY
                if old and record.name != f"{name}.{md5}":
                    self.tree.disk.remove(record)


def _has_folder(tree: Tree, receipt: Receipt) -> bool:
    """Whether the series of a receipt is in the tree, and not in staging for a repair.

    Raises:
        DestinationError: the folder cannot be read.
    """
    path = receipt.path(tree.root)
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise DestinationError(
            f"cannot read {path}: {error.strerror}",
            hint="check its permissions and its disk, then run the same command again; until then "
            "the reports stay as they are",
        ) from error
