"""Bringing single files in: received, compared with what is on record, unpacked, put in place."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from tcia_covid.core.errors import (
    ArchiveError,
    ChecksumError,
    NotAvailableError,
    SeriesError,
    TciaCovidError,
    ZipError,
)
from tcia_covid.core.events import Emit, Notice, RequestRetried
from tcia_covid.core.models import Failure
from tcia_covid.core.redaction import redact
from tcia_covid.core.version import __version__
from tcia_covid.formats.hashes import hash_file
from tcia_covid.http.client import Client
from tcia_covid.store.disk import destination_errors, move_aside, moved_aside
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.ranged_download import ResumableDownload
from tcia_covid.supporting.receipts import (
    FileCheck,
    FileReceipt,
    FileReceipts,
    Member,
    SupportingResult,
)
from tcia_covid.supporting.sources import SourceFile, file_name, unique_name
from tcia_covid.supporting.unpack import unpack

_ZIP = ".zip"
_ATTEMPTS = 2
"""How often a file is received that is not what is on record."""


class Installer:
    """Brings single files into a collection's folder.

    Args:
        tree: the collection's folder.
        client: for the files.
        emit: hears of failures.
        accept_listed: take a file that is not what is on record, too.
    """

    def __init__(self, tree: Tree, client: Client, emit: Emit, *, accept_listed: bool) -> None:
        self._tree = tree
        self._client = client
        self._emit = emit
        self._accept_listed = accept_listed
        self._receipts = FileReceipts(tree)
        self._parts = tree.state / "supporting-parts"
        self._owed = self._parts / "owed"

    @property
    def has_any(self) -> bool:
        """Whether there is a receipt."""
        return any(True for _ in self._receipts.all())

    @property
    def is_harmed(self) -> bool:
        """Whether a file does not stand as its receipt says."""
        return any(self.stands(receipt.key) is None for receipt in list(self._receipts.all()))

    @property
    def is_owed(self) -> bool:
        """Whether a file that only the site knows failed in an earlier run."""
        return self._owed.exists()

    def note_owed(self, *, owed: bool) -> None:
        """Note whether the next run has to ask the site again."""
        if owed:
            self._tree.disk.make_folder(self._parts)
            self._tree.write_file(self._owed)
        else:
            self._tree.disk.remove(self._owed)

    def stands(self, key: str) -> FileReceipt | None:
        """The receipt of a file that stands as it says."""
        receipt = self._receipts.find(key)
        if receipt is None or any(True for _ in self._receipts.differing(receipt)):
            return None
        return receipt

    def keep_listed(self, result: SupportingResult) -> None:
        """Count the files that the site alone knew, in an earlier run."""
        counted = {one.key for one in (*result.fetched, *result.there)}
        for receipt in list(self._receipts.all()):
            if receipt.key not in counted and self.stands(receipt.key):
                result.there.append(receipt)

    def bring(self, wanted: SourceFile, result: SupportingResult, *, update: bool) -> None:
        """Have one file stand; what goes wrong with it is in the result."""
        receipt = None if update else self.stands(wanted.key)
        if receipt is not None:
            result.there.append(receipt)
            return
        try:
            with destination_errors(str(self._receipts.files)):
                result.fetched.append(self._fetch(wanted, result))
        except (ArchiveError, SeriesError) as error:
            failure = failure_of(wanted, error)
            result.failures.append(failure)
            self._emit(Notice(f"failed: {failure.detail}"))

    def _fetch(self, wanted: SourceFile, result: SupportingResult) -> FileReceipt:
        self._client.stop.check()
        name = self._free_name(file_name(wanted), wanted.key)

        def on_retry(reason: str, wait: float) -> None:
            self._emit(RequestRetried(name, reason, wait))

        url = wanted.url or ""
        fetch = ResumableDownload(self._client, url, name, self._tree, self._parts, on_retry)
        for attempt in range(1, _ATTEMPTS + 1):
            part = fetch.run()
            try:
                receipt = self._publish(self._checked(wanted, name, part), part, result)
            except (ChecksumError, ZipError):
                self._keep_bad(part)
                fetch.discard()
                if attempt == _ATTEMPTS:
                    raise
                continue
            fetch.discard()
            return receipt
        raise AssertionError  # the loop either returns or raises

    def _free_name(self, name: str, key: str) -> str:
        """A name for a file or a ZIP's folder; another one where a different file has it."""
        others = [one for one in self._receipts.all() if one.key != key]
        names = [name for one in others for name in (one.file, *(m.file for m in one.members))]
        taken = {name.partition("/")[0].casefold() for name in names}
        return str(unique_name(name, key, taken))

    def _checked(self, wanted: SourceFile, name: str, part: Path) -> FileReceipt:
        """Compare a file with what is on record, and give its receipt.

        Raises:
            ChecksumError: it is another one.
        """
        size, sha256 = hash_file(part, "sha256")
        check = FileCheck.NONE
        if wanted.sha256 is not None:
            check = FileCheck.SHA256
        elif wanted.size is not None:
            check = FileCheck.SIZE
        wrong = wanted.sha256 not in (None, sha256) or wanted.size not in (None, size)
        if wrong and not self._accept_listed:
            raise ChecksumError(
                f"{name} has {size} bytes and SHA-256 {sha256}, on record are {_record(wanted)}",
                hint="if TCIA published another version, --accept-listed takes it",
            )
        return FileReceipt(
            key=wanted.key,
            file=name,
            original=wanted.original,
            title=wanted.title,
            kind=wanted.kind,
            source=wanted.source,
            url=redact(wanted.url or ""),
            size=size,
            sha256=sha256,
            check=FileCheck.NONE if wrong else check,
            finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            program=f"tcia-covid {__version__}",
        )

    def _publish(self, receipt: FileReceipt, part: Path, result: SupportingResult) -> FileReceipt:
        """Unpack a ZIP, put everything in place, and the receipt on file last."""
        disk, files = self._tree.disk, self._receipts.files
        before = self._receipts.find(receipt.key)
        unpacked = self._parts / f"{receipt.file}.unpacked"
        arrived = {part: Member(receipt.file, receipt.size, receipt.sha256)}
        if receipt.file.lower().endswith(_ZIP):
            disk.remove_folder(unpacked)
            members = unpack(part, unpacked, disk, self._client.stop.check)
            plain = receipt.file[: -len(_ZIP)].rstrip("._-") or "unpacked"
            folder = self._free_name(plain, receipt.key)
            placed = tuple(replace(one, file=f"{folder}/{one.file}") for one in members)
            arrived |= {unpacked / old.file: new for old, new in zip(members, placed, strict=True)}
            receipt = replace(receipt, members=placed)
        disk.sync_file(part)
        recorded = {one.file: one for one in before.stated} if before else {}
        for source, member in arrived.items():
            self._put(source, member, recorded.get(member.file), result)
        self._remove_outdated(recorded.keys() - {one.file for one in arrived.values()}, recorded)
        disk.remove_folder(unpacked)
        disk.sync_folder(files)
        self._receipts.write(receipt)
        return receipt

    def _put(
        self, source: Path, member: Member, recorded: Member | None, result: SupportingResult
    ) -> None:
        """Put a file in place, unless it is there; what no receipt accounts for is moved aside.

        Args:
            source: the file.
            member: its name, and what it is.
            recorded: what the receipt before had under that name.
            result: gains what was moved aside.
        """
        disk, place = self._tree.disk, self._receipts.files / member.file
        if _has(place, member):
            disk.remove(source)
            return
        for folder in reversed(place.relative_to(self._tree.root).parents):
            above = self._tree.root / folder
            if os.path.lexists(above) and not above.is_dir():
                self._move_aside(above, result)
        ours = recorded is not None and (place.is_symlink() or _has(place, recorded))
        if os.path.lexists(place) and not ours:
            self._move_aside(place, result)
        disk.make_folder(place.parent)
        disk.replace(source, place)

    def _remove_outdated(self, names: Iterable[str], recorded: Mapping[str, Member]) -> None:
        """Remove files of an earlier version that are as the receipt says; others stay."""
        files = self._receipts.files
        for name in names:
            place = files / name
            if not place.is_symlink() and _has(place, recorded[name]):
                self._tree.disk.remove(place)
                if place.parent != files:
                    self._tree.disk.remove_empty(place.parent)

    def _move_aside(self, path: Path, result: SupportingResult) -> None:
        text = moved_aside(path, move_aside(self._tree.disk, path))
        result.moved_aside.append(text)
        self._emit(Notice(text, always=True))

    def _keep_bad(self, part: Path) -> None:
        """Keep a received file that is not what it should be, for inspection."""
        folder = self._tree.quarantine / "supporting"
        self._tree.disk.make_folder(folder)
        self._tree.disk.replace(part, folder / f"{part.name.removesuffix('.part')}.bad")


def _has(place: Path, member: Member) -> bool:
    """Whether a file has the bytes that a receipt names."""
    try:
        return place.is_file() and hash_file(place, "sha256") == (member.size, member.sha256)
    except OSError:
        return False


def _record(wanted: SourceFile) -> str:
    size = f"{wanted.size} bytes" if wanted.size is not None else ""
    sha256 = f"SHA-256 {wanted.sha256}" if wanted.sha256 is not None else ""
    return " and ".join(filter(None, (size, sha256)))


def failure_of(wanted: SourceFile, error: TciaCovidError) -> Failure:
    """Give the record of why a file is not there."""
    reason = "archive-error"
    if isinstance(error, SeriesError):
        reason = error.reason
    elif isinstance(error, ZipError):
        reason = "damaged"
    elif isinstance(error, NotAvailableError):
        reason = "not-available"
    name = wanted.original or wanted.title
    return Failure("", reason, f"supporting file {name}: {error.message}", hint=error.hint)
