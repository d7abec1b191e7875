"""Downloading the supporting files of the requested collections, with or without the images."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tcia_covid.archives.portal import PortalApi
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.licenses import check_license
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    ChecksumError,
    InterruptedRunError,
    LockedError,
    NotAvailableError,
    SeriesError,
    TciaCovidError,
    UsageError,
    ZipError,
)
from tcia_covid.core.events import Emit, Notice, RequestRetried, discard
from tcia_covid.core.models import Failure
from tcia_covid.core.redaction import redact
from tcia_covid.core.summary import Summary
from tcia_covid.core.version import __version__
from tcia_covid.formats.hashes import hash_file
from tcia_covid.http.client import Client
from tcia_covid.selection.request import Request
from tcia_covid.selection.targets import unknown_collection
from tcia_covid.store.disk import Disk, destination_errors
from tcia_covid.store.locks import Lock
from tcia_covid.store.quarantine import move_aside, moved_aside, set_aside
from tcia_covid.store.tree import Tree, collection_folder
from tcia_covid.supporting.ranged_download import ResumableDownload
from tcia_covid.supporting.receipts import (
    FileCheck,
    FileReceipt,
    FileReceipts,
    Member,
    SupportingResult,
)
from tcia_covid.supporting.sources import (
    MissingAddress,
    SourceFile,
    file_name,
    locate_files,
    registered_files,
    unique_name,
)
from tcia_covid.supporting.unpack import unpack

_ZIP = ".zip"
_ATTEMPTS = 2
"""How often a file is downloaded that differs from the recorded one."""


def download_supporting(
    request: Request, registry: Registry, *, emit: Emit = discard, stop: CancelToken | None = None
) -> Summary:
    """Download the supporting files of the requested collections, and nothing else.

    Raises:
        RequestError: a target is not a collection of the registry, or its license forbids the use.
        DestinationError: the folder cannot be used.

    Later failures are in the summary, not raised. The caller sets the summary's time and emits
    the event that ends a run.
    """
    summary = Summary(targets=list(request.targets), output=request.output)
    summary.sources = {"nbia": 0, "idc": 0}
    add_supporting(request, collections_of(request, registry), summary, emit=emit, stop=stop)
    return summary


def add_supporting(
    request: Request,
    collections: Iterable[Collection],
    summary: Summary,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
) -> None:
    """Download the supporting files of some collections; add the result to a summary.

    Raises:
        DestinationError: the folder cannot be used.
    """
    client = Client(request.options.http, stop=stop or CancelToken(), connections=2, emit=emit)
    try:
        site = PortalApi(client, request.options.site_url)
        for collection in collections:
            result = _fetch(collection, request, client, site, emit)
            result.add_to(summary)
            for line in result.notices:
                emit(Notice(line))
    except InterruptedRunError as error:
        summary.error, summary.exit_code = error, error.exit_code
    finally:
        client.close()
        summary.bytes_received += client.meter.received


def collections_of(request: Request, registry: Registry) -> list[Collection]:
    """The requested collections, each once.

    Raises:
        RequestError: a target is not one, or its license forbids the use.
    """
    collections: dict[str, Collection] = {}
    for word in request.targets:
        collection = registry.find(word)
        if collection is None:
            raise unknown_collection(word, (), registry)
        check_license(
            collection.name, collection.license, commercial_use=request.options.commercial_use
        )
        collections[collection.name] = collection
    if not collections:
        raise UsageError("no collection given", hint="'tcia-covid list' shows them")
    return list(collections.values())


def _fetch(
    collection: Collection, request: Request, client: Client, site: PortalApi, emit: Emit
) -> SupportingResult:
    options = request.options
    root = Path(request.output) / collection_folder(collection.name)
    tree = Tree(root, disk=Disk(durable=options.durable))
    tree.prepare()
    try:
        return fetch_supporting(
            collection,
            tree,
            client,
            site,
            update=options.update,
            accept_listed=options.accept_listed,
            emit=emit,
        )
    except LockedError as error:
        result = SupportingResult(collection.name)
        result.failures.append(Failure("", "locked", error.message, hint=error.hint))
        return result


def fetch_supporting(
    collection: Collection,
    tree: Tree,
    client: Client,
    site: PortalApi,
    *,
    update: bool = False,
    accept_listed: bool = False,
    emit: Emit = discard,
) -> SupportingResult:
    """Install the supporting files of a collection in its folder `supporting`.

    Intact files are not downloaded again. The site's list is read only if a file of the registry
    has neither an address nor a receipt.

    Args:
        collection: whose files.
        tree: its folder; has been prepared.
        client: for the files.
        site: TCIA's site, for the list.
        update: download everything again.
        accept_listed: also install a file that differs from the recorded one.
        emit: receives notices and failures.

    Raises:
        LockedError: another run does the same.
        DestinationError: the disk.
        TciaCovidError: the run is to end.

    Errors about single files are in the result.
    """
    result = SupportingResult(collection.name)
    lock = tree.state / "locks" / "supporting.lock"
    with destination_errors(str(tree.root)), Lock(lock, f"supporting files of {collection.name}"):
        files = Installer(tree, client, emit, accept_listed=accept_listed)
        known = registered_files(collection)
        for file in known:
            if file.url is not None:
                files.install(file, result, update=update)
        if update or files.must_retry or _needs_list(known, files):
            _install_listed(collection, known, site, files, result, update=update)
            files.record_retry(needed=bool(result.failures))
        else:
            files.count_listed(result)
    return result


def _needs_list(known: Sequence[SourceFile], files: Installer) -> bool:
    """Whether only the site's list can say where a file is, or whether there are any."""
    if files.has_damage or not (known or files.has_receipts):
        return True
    return any(file.url is None and not files.intact_receipt(file.key) for file in known)


def _install_listed(
    collection: Collection,
    known: Sequence[SourceFile],
    site: PortalApi,
    files: Installer,
    result: SupportingResult,
    *,
    update: bool,
) -> None:
    """Install the files of the site's list."""
    try:
        listed = site.downloads(collection.slug) if collection.slug else []
    except ArchiveError as error:
        for file in known:
            if file.url is None and not files.intact_receipt(file.key):
                result.failures.append(failure_of(file, error))
        files.count_listed(result)
        return
    result.notices += [
        f"'{entry.title}' is an Aspera package, which is not downloaded with the supporting files"
        for entry in listed
        if entry.is_package and collection.is_dicom
    ]
    for file_or_error in locate_files(known, listed, site):
        if isinstance(file_or_error, MissingAddress):
            result.failures.append(failure_of(file_or_error.wanted, file_or_error.error))
        else:
            files.install(file_or_error, result, update=update)


class Installer:
    """Installs single files in a collection's folder.

    Args:
        tree: the collection's folder.
        client: for the files.
        emit: receives failures.
        accept_listed: also install a file that differs from the recorded one.
    """

    def __init__(self, tree: Tree, client: Client, emit: Emit, *, accept_listed: bool) -> None:
        self._tree = tree
        self._client = client
        self._emit = emit
        self._accept_listed = accept_listed
        self._receipts = FileReceipts(tree)
        self._parts = tree.state / "supporting-parts"
        self._retry = self._parts / "owed"

    @property
    def has_receipts(self) -> bool:
        """Whether any file was installed."""
        return any(True for _ in self._receipts.all())

    @property
    def has_damage(self) -> bool:
        """Whether a file differs from its receipt or is missing."""
        return any(
            self.intact_receipt(receipt.key) is None for receipt in list(self._receipts.all())
        )

    @property
    def must_retry(self) -> bool:
        """Whether a file that only the site lists failed in an earlier run."""
        return self._retry.exists()

    def record_retry(self, *, needed: bool) -> None:
        """Record whether the next run must read the site's list again."""
        if needed:
            self._tree.disk.make_folder(self._parts)
            self._tree.write_file(self._retry)
        else:
            self._tree.disk.remove(self._retry)

    def intact_receipt(self, key: str) -> FileReceipt | None:
        """The receipt of a file that is in place and as the receipt says."""
        receipt = self._receipts.find(key)
        if receipt is None or any(True for _ in self._receipts.differing(receipt)):
            return None
        return receipt

    def count_listed(self, result: SupportingResult) -> None:
        """Add intact files that an earlier run found in the site's list."""
        counted = {receipt.key for receipt in (*result.fetched, *result.there)}
        for receipt in list(self._receipts.all()):
            if receipt.key not in counted and self.intact_receipt(receipt.key):
                result.there.append(receipt)

    def install(self, wanted: SourceFile, result: SupportingResult, *, update: bool) -> None:
        """Install one file unless it is in place; its failure is added to the result."""
        receipt = None if update else self.intact_receipt(wanted.key)
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
                set_aside(self._tree.disk, part, self._tree.quarantine / "supporting", name)
                fetch.discard()
                if attempt == _ATTEMPTS:
                    raise
                continue
            fetch.discard()
            return receipt
        raise AssertionError  # the loop either returns or raises

    def _free_name(self, name: str, key: str) -> str:
        """A name for a file or a ZIP's folder that no other supporting file has."""
        others = [receipt for receipt in self._receipts.all() if receipt.key != key]
        names = [member.file for receipt in others for member in receipt.stated]
        taken = {name.partition("/")[0].casefold() for name in names}
        return str(unique_name(name, key, taken))

    def _checked(self, wanted: SourceFile, name: str, part: Path) -> FileReceipt:
        """Compare a file with the recorded size and hash, and return its receipt.

        Raises:
            ChecksumError: it differs.
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
                f"{name} has {size} bytes and SHA-256 {sha256}, expected {_record(wanted)}",
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
        """Unpack a ZIP, put all files in place, and write the receipt last."""
        disk, files = self._tree.disk, self._receipts.files
        before = self._receipts.find(receipt.key)
        unpacked = self._parts / f"{receipt.file}.unpacked"
        arrived = {part: Member(receipt.file, receipt.size, receipt.sha256)}
        if receipt.file.lower().endswith(_ZIP):
            disk.remove_folder(unpacked)
            members = unpack(part, unpacked, disk, self._client.stop.check)
            plain = receipt.file[: -len(_ZIP)].rstrip("._-") or "unpacked"
            folder = self._free_name(plain, receipt.key)
            placed = tuple(replace(member, file=f"{folder}/{member.file}") for member in members)
            arrived |= {unpacked / old.file: new for old, new in zip(members, placed, strict=True)}
            receipt = replace(receipt, members=placed)
        disk.sync_file(part)
        recorded = {member.file: member for member in before.stated} if before else {}
        for source, member in arrived.items():
            self._put(source, member, recorded.get(member.file), result)
        self._remove_outdated(
            recorded.keys() - {member.file for member in arrived.values()}, recorded
        )
        disk.remove_folder(unpacked)
        disk.sync_folder(files)
        self._receipts.write(receipt)
        return receipt

    def _put(
        self, source: Path, member: Member, recorded: Member | None, result: SupportingResult
    ) -> None:
        """Put a file in place unless it is there; a file that no receipt names is moved aside.

        Args:
            source: the file.
            member: its name, size and hash.
            recorded: the member of that name in the receipt before.
            result: records what was moved aside.
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
        """Remove files of an earlier version that are unchanged; others stay."""
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


def _has(place: Path, member: Member) -> bool:
    """Whether a file has the bytes of a receipt."""
    try:
        return place.is_file() and hash_file(place, "sha256") == (member.size, member.sha256)
    except OSError:
        return False


def _record(wanted: SourceFile) -> str:
    size = f"{wanted.size} bytes" if wanted.size is not None else ""
    sha256 = f"SHA-256 {wanted.sha256}" if wanted.sha256 is not None else ""
    return " and ".join(filter(None, (size, sha256)))


def failure_of(wanted: SourceFile, error: TciaCovidError) -> Failure:
    """The failure of a supporting file."""
    reason = "archive-error"
    if isinstance(error, SeriesError):
        reason = error.reason
    elif isinstance(error, ZipError):
        reason = "damaged"
    elif isinstance(error, NotAvailableError):
        reason = "not-available"
    name = wanted.original or wanted.title
    return Failure("", reason, f"supporting file {name}: {error.message}", hint=error.hint)
