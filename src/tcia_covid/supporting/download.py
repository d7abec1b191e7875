"""Downloading the supporting files of the requested collections, with or without the images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tcia_covid.archives.portal import PortalApi
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.licenses import check_license
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    ChecksumError,
    DestinationError,
    FailureReason,
    InterruptedRunError,
    LockedError,
    SeriesError,
    UsageError,
    ZipError,
)
from tcia_covid.core.events import Emit, Notice, discard
from tcia_covid.core.models import Failure
from tcia_covid.core.redaction import redact
from tcia_covid.core.summary import Summary, SupportingFile, SupportingFiles, exit_code_of
from tcia_covid.core.version import PROGRAM, utc_now
from tcia_covid.formats.hashes import has_content, hash_file
from tcia_covid.http.client import Client
from tcia_covid.selection.request import Request
from tcia_covid.selection.targets import unknown_collection
from tcia_covid.store.disk import Disk, destination_errors
from tcia_covid.store.layout import collection_folder
from tcia_covid.store.locks import Lock
from tcia_covid.store.quarantine import move_aside, set_aside
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.receipts import FileCheck, FileReceipt, FileReceipts, Member
from tcia_covid.supporting.resumable_download import ResumableDownload
from tcia_covid.supporting.sources import (
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
    add_supporting(request, _collections(request, registry), summary, emit=emit, stop=stop)
    return summary


def _collections(request: Request, registry: Registry) -> list[Collection]:
    """The requested collections, each once."""
    collections: dict[str, Collection] = {}
    for target in request.targets:
        collection = registry.find(target)
        if collection is None:
            raise unknown_collection(target, registry)
        check_license(
            collection.name, collection.license, commercial_use=request.options.commercial_use
        )
        collections[collection.name] = collection
    if not collections:
        raise UsageError("no collection given", hint="'tcia-covid list' shows them")
    return list(collections.values())


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
    options = request.options
    client = Client(options.http, stop=stop or CancelToken(), connections=2, emit=emit)
    try:
        site = PortalApi(client, options.site_url)
        for collection in collections:
            root = Path(request.output) / collection_folder(collection.name)
            tree = Tree(root, disk=Disk(durable=options.durable))
            try:
                result = fetch_supporting(
                    collection,
                    tree,
                    client,
                    site,
                    update=options.update,
                    accept_listed=options.accept_listed,
                )
            except LockedError as error:
                result = SupportingFiles(collection.name, failures=[Failure.of(error)])
            summary.supporting.append(result)
            summary.failures += result.failures
            summary.notices += [result.text, *result.notices]
        summary.exit_code = summary.exit_code or exit_code_of(summary)
    except InterruptedRunError as error:
        summary.error, summary.exit_code = error, error.exit_code
    finally:
        client.close()
        summary.bytes_received += client.meter.received


def fetch_supporting(
    collection: Collection,
    tree: Tree,
    client: Client,
    site: PortalApi,
    *,
    update: bool = False,
    accept_listed: bool = False,
) -> SupportingFiles:
    """Install the supporting files of a collection in its folder `supporting`.

    Intact files are not downloaded again. The site's list is read only if a file of the registry
    has neither an address nor a receipt. The folder need not be writable if nothing is to do.
    `accept_listed` also installs a file that differs from the recorded one.

    Raises:
        LockedError: another run does the same.
        DestinationError: the disk.
        TciaCovidError: the run is to end.

    Errors about single files are in the result.
    """
    tree.check_links()
    try:
        tree.prepare()
    except DestinationError:
        installer = _Installer(collection, tree, client, update, accept_listed)
        if not installer.is_complete():
            raise
        installer.run(site)
        return installer.result
    lock = tree.state / "locks" / "supporting.lock"
    with destination_errors(str(tree.root)), Lock(lock, f"supporting files of {collection.name}"):
        installer = _Installer(collection, tree, client, update, accept_listed)
        installer.run(site)
    return installer.result


@dataclass(slots=True)
class _Installer:
    """Installs the files of one collection; `fetch_supporting` explains the fields."""

    collection: Collection
    tree: Tree
    client: Client
    update: bool
    accept_listed: bool
    result: SupportingFiles = field(init=False)
    receipts: FileReceipts = field(init=False)
    parts: Path = field(init=False)
    """The folder of partial files."""
    retry: Path = field(init=False)
    """Exists while a file that only the site lists is still to be downloaded."""
    intact: dict[str, FileReceipt] = field(init=False)
    """The receipts of the files that are in place, by key."""

    def __post_init__(self) -> None:
        self.result = SupportingFiles(self.collection.name)
        self.receipts = FileReceipts(self.tree)
        self.parts = self.tree.state / "supporting-parts"
        self.retry = self.parts / "owed"
        self.intact = {
            receipt.key: receipt
            for receipt in self.receipts.all()
            if not any(True for _ in self.receipts.differing(receipt))
        }

    def run(self, site: PortalApi) -> None:
        """Install what is missing."""
        registered = registered_files(self.collection)
        for file in registered:
            if file.url is not None:
                self._install(file)
        if self._needs_list(registered):
            self._install_listed(registered, site)
            if self.result.failures:
                self.tree.disk.make_folder(self.parts)
                self.tree.write_file(self.retry)
            else:
                self.tree.disk.remove(self.retry)
        else:
            self._add_unchanged()

    def is_complete(self) -> bool:
        """Whether nothing is to do, so that nothing is written."""
        registered = registered_files(self.collection)
        is_stored = all(file.url is None or file.key in self.intact for file in registered)
        return is_stored and not self._needs_list(registered)

    def _needs_list(self, registered: Sequence[SourceFile]) -> bool:
        """Whether only the site's list can say where a file is, or whether there are any."""
        recorded = list(self.receipts.all())
        return (
            self.update
            or self.retry.exists()
            or not (registered or recorded)
            or any(receipt.key not in self.intact for receipt in recorded)
            or any(file.url is None and file.key not in self.intact for file in registered)
        )

    def _install_listed(self, registered: Sequence[SourceFile], site: PortalApi) -> None:
        """Install the files of the site's list."""
        slug = self.collection.slug
        try:
            listed = site.downloads(slug) if slug else []
        except ArchiveError as error:
            for file in registered:
                if file.url is None and file.key not in self.intact:
                    self._fail(file, error)
            self._add_unchanged()
            return
        for entry in listed:
            if entry.is_package and self.collection.is_dicom:
                self._notify(
                    f"'{entry.title}' is an Aspera package, which is not downloaded with the "
                    "supporting files"
                )
        for file in locate_files(registered, listed, site):
            self._install(file)

    def _install(self, file: SourceFile) -> None:
        """Install one file unless it is in place."""
        receipt = None if self.update else self.intact.get(file.key)
        if receipt is not None:
            self._add(receipt, fetched=False)
            return
        try:
            if file.error is not None:
                raise file.error
            with destination_errors(str(self.receipts.files)):
                receipt = self._fetch(file, file.url or "")
        except (ArchiveError, SeriesError) as error:
            self._fail(file, error)
        else:
            self.intact[file.key] = receipt
            self._add(receipt, fetched=True)

    def _add(self, receipt: FileReceipt, *, fetched: bool) -> None:
        self.result.files.append(
            SupportingFile(
                file=receipt.file,
                title=receipt.title,
                kind=receipt.kind,
                size=receipt.size,
                sha256=receipt.sha256,
                check=receipt.check.value,
                fetched=fetched,
            )
        )

    def _add_unchanged(self) -> None:
        """Add intact files that an earlier run found in the site's list."""
        added = {file.file for file in self.result.files}
        for receipt in self.intact.values():
            if receipt.file not in added:
                self._add(receipt, fetched=False)

    def _fail(self, file: SourceFile, error: ArchiveError | SeriesError) -> None:
        failure = Failure.of(error, subject=f"supporting file {file.original or file.title}")
        if isinstance(error, ZipError):
            failure = replace(failure, reason=FailureReason.DAMAGED)
        self.result.failures.append(failure)
        self.client.emit(Notice(f"failed: {failure.detail}"))

    def _notify(self, text: str, *, always: bool = False) -> None:
        self.result.notices.append(text)
        self.client.emit(Notice(text, always=always))

    def _fetch(self, file: SourceFile, url: str) -> FileReceipt:
        """Download a file, check it, and put it in place."""
        self.client.stop.check()
        name = self._free_name(file_name(file), file.key)
        download = ResumableDownload(self.client, url, name, self.tree, self.parts)
        for attempt in range(1, _ATTEMPTS + 1):
            part = download.run()
            try:
                receipt = self._publish(self._checked(file, name, part), part)
            except (ChecksumError, ZipError):
                set_aside(self.tree.disk, part, self.tree.quarantine / "supporting", name)
                download.discard()
                if attempt == _ATTEMPTS:
                    raise
            else:
                download.discard()
                return receipt
        raise AssertionError  # the loop either returns or raises

    def _free_name(self, name: str, key: str) -> str:
        """A name for a file or a ZIP's folder that no other supporting file has."""
        others = [receipt for receipt in self.receipts.all() if receipt.key != key]
        names = [member.file for receipt in others for member in receipt.all_files]
        taken = {name.partition("/")[0].casefold() for name in names}
        return unique_name(name, key, taken)

    def _checked(self, file: SourceFile, name: str, part: Path) -> FileReceipt:
        """Compare a file with the recorded size and hash, and return its receipt.

        Raises:
            ChecksumError: it differs.
        """
        size, sha256 = hash_file(part, "sha256")
        check, expected = FileCheck.NONE, []
        if file.size is not None:
            check = FileCheck.SIZE
            expected.append(f"{file.size} bytes")
        if file.sha256 is not None:
            check = FileCheck.SHA256
            expected.append(f"SHA-256 {file.sha256}")
        if file.sha256 not in (None, sha256) or file.size not in (None, size):
            if not self.accept_listed:
                raise ChecksumError(
                    f"{name} has {size} bytes and SHA-256 {sha256}, "
                    f"expected {' and '.join(expected)}",
                    hint="if TCIA published another version, --accept-listed accepts it",
                )
            check = FileCheck.NONE
        return FileReceipt(
            key=file.key,
            file=name,
            original=file.original,
            title=file.title,
            kind=file.kind,
            source=file.source,
            url=redact(file.url or ""),
            size=size,
            sha256=sha256,
            check=check,
            finished=utc_now(),
            program=PROGRAM,
        )

    def _publish(self, receipt: FileReceipt, part: Path) -> FileReceipt:
        """Unpack a ZIP, put all files in place, and write the receipt last."""
        disk, files = self.tree.disk, self.receipts.files
        before = self.receipts.find(receipt.key)
        recorded = {member.file: member for member in before.all_files} if before else {}
        unpacked = self.parts / f"{receipt.file}.unpacked"
        arrived = {part: Member(receipt.file, receipt.size, receipt.sha256)}
        if receipt.file.lower().endswith(_ZIP):
            disk.remove_folder(unpacked)
            members = unpack(part, unpacked, disk, self.client.stop.check)
            plain = receipt.file[: -len(_ZIP)].rstrip("._-") or "unpacked"
            folder = self._free_name(plain, receipt.key)
            placed = tuple(replace(member, file=f"{folder}/{member.file}") for member in members)
            arrived |= {unpacked / old.file: new for old, new in zip(members, placed, strict=True)}
            receipt = replace(receipt, members=placed)
        disk.sync_file(part)
        for source, member in arrived.items():
            self._put(source, member, recorded.pop(member.file, None))
        self._remove_outdated(recorded)
        disk.remove_folder(unpacked)
        disk.sync_folder(files)
        self.receipts.write(receipt)
        return receipt

    def _put(self, source: Path, member: Member, recorded: Member | None) -> None:
        """Put a file in place unless it is there; a file that no receipt names is moved aside.

        `recorded` is the member of that name in the receipt before.
        """
        disk, place = self.tree.disk, self.receipts.files / member.file
        if _has(place, member):
            disk.remove(source)
            return
        for folder in reversed(place.relative_to(self.tree.root).parents):
            above = self.tree.root / folder
            if os.path.lexists(above) and not above.is_dir():
                self._move_aside(above)
        is_ours = recorded is not None and (place.is_symlink() or _has(place, recorded))
        if os.path.lexists(place) and not is_ours:
            self._move_aside(place)
        disk.make_folder(place.parent)
        disk.replace(source, place)

    def _remove_outdated(self, recorded: Mapping[str, Member]) -> None:
        """Remove files of an earlier version that are unchanged; others stay."""
        files = self.receipts.files
        for name, member in recorded.items():
            place = files / name
            if not place.is_symlink() and _has(place, member):
                self.tree.disk.remove(place)
                if place.parent != files:
                    self.tree.disk.remove_empty(place.parent)

    def _move_aside(self, path: Path) -> None:
        self._notify(move_aside(self.tree.disk, path), always=True)


def _has(place: Path, member: Member) -> bool:
    """Whether a file has the bytes of a receipt."""
    return has_content(place, member.size, member.sha256, "sha256")
