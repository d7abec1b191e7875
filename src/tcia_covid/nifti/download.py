"""Downloading the NIfTI collection: receive its packages with `ascli`, install, report."""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tcia_covid.archives.aspera import AsperaPackage, find_ascli, install_commands, receive_command
from tcia_covid.archives.portal import PortalApi
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    EXIT_ARCHIVE,
    EXIT_DESTINATION,
    EXIT_OK,
    EXIT_PARTIAL,
    ArchiveError,
    DestinationError,
    InterruptedRunError,
    LockedError,
    NotAvailableError,
    NotDicomError,
    RequestError,
    TciaCovidError,
)
from tcia_covid.core.events import Emit, Notice, RunStarted, discard
from tcia_covid.core.models import Check, Failure
from tcia_covid.core.summary import Summary
from tcia_covid.core.units import format_size
from tcia_covid.http.client import Client
from tcia_covid.http.settings import HttpSettings
from tcia_covid.nifti.receive import PackageFolder, Receiver
from tcia_covid.nifti.tree import Inventory, VolumeTree
from tcia_covid.selection.request import Request, check_package_request
from tcia_covid.store.disk import Disk
from tcia_covid.store.free_space import check_space
from tcia_covid.store.reports import outdated_reports, update_reports

_GUIDE_CONNECT, _GUIDE_ANSWER = 10.0, 30.0
"""Seconds to wait for the site where its links are only shown."""
_FOLDER = "ct-images"


def download_collection(
    collection: Collection,
    request: Request,
    registry: Registry,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
) -> Summary:
    """Download a collection of volumes; running it again continues, and replaces damaged ones.

    No request is made if everything in the registry is installed.

    Args:
        collection: published as Aspera packages.
        request: the output and the options; no filters.
        registry: for TCIA's own citation.
        emit: receives progress.
        stop: ends it early; what is complete is kept.

    Raises:
        NotDicomError: `ascli` is not installed; notices say what to do.
        RequestError: the request cannot be fulfilled.
        ArchiveError: the site gave no usable response.
        DestinationError: the folder cannot be used.

    Failures after the transfer began are in the summary, not raised. The caller sets the
    summary's time and emits the event that ends a run.
    """
    check_package_request(collection, request)
    disk = Disk(durable=request.options.durable)
    tree = VolumeTree(Path(request.output), collection, disk, emit)
    return _Run(tree, request, registry, emit, stop or CancelToken()).carry_out()


@dataclass(slots=True)
class _Run:
    tree: VolumeTree
    request: Request
    registry: Registry
    emit: Emit
    stop: CancelToken
    inboxes: list[PackageFolder] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    received: int = 0
    """Bytes that arrived."""

    @property
    def collection(self) -> Collection:
        return self.tree.collection

    def carry_out(self) -> Summary:
        before = Inventory.of(self.tree)
        ended: TciaCovidError | None = None
        if not before.is_complete:
            program = find_ascli()
            if program is None:
                raise self._without_ascli()
            packages = self._packages(self.request.options.http)
            self.tree.prepare()
            ended = self._receive(program, packages, before)
        ended = self._report(ended)
        summary = _summarize(
            self.request,
            self.tree,
            before,
            failures=self.failures,
            received=self.received,
            ended=ended,
        )
        summary.notices += self.tree.notices
        interrupted = [inbox.size for inbox in self.inboxes if inbox.is_interrupted]
        names = outdated_reports(self.tree)
        summary.outdated_reports = [f"{self.tree.root.name}/{name}" for name in names]
        summary.partial_series, summary.partial_bytes = len(interrupted), sum(interrupted)
        return summary

    def _packages(self, settings: HttpSettings) -> list[AsperaPackage]:
        client = Client(settings, stop=self.stop, emit=self.emit)
        try:
            return find_packages(self.collection, PortalApi(client, self.request.options.site_url))
        finally:
            client.close()

    def _without_ascli(self) -> NotDicomError:
        """Say what to install and what to type; return the error that ends the run."""
        settings = self.request.options.http
        quick = replace(
            settings,
            retries=min(1, settings.retries),
            connect_timeout=min(_GUIDE_CONNECT, settings.connect_timeout),
            first_byte_timeout=min(_GUIDE_ANSWER, settings.first_byte_timeout),
        )
        packages: list[AsperaPackage] = []
        try:
            packages = self._packages(quick)
        except ArchiveError as error:
            self.emit(Notice(f"the links to the packages are not available: {error.message}"))
        lines, commands = _manual_instructions(self.tree, packages)
        for line in lines:
            self.emit(Notice(line))
        return NotDicomError(
            f"{self.collection.name} is published as {self.collection.format} files in Aspera "
            "packages, and ascli, which receives them, is not installed",
            hint="install it with 'gem install aspera-cli' and 'ascli config ascp install', or "
            f"download with a browser: {self._page}",
            commands=commands,
        )

    @property
    def _page(self) -> str:
        return self.collection.page or "www.cancerimagingarchive.net"

    def _receive(
        self, program: str, packages: Sequence[AsperaPackage], before: Inventory
    ) -> TciaCovidError | None:
        """Receive every package; return what ended the run early."""
        old = [self._unreadable(package) for package in packages if not package.is_public_link]
        public = [package for package in packages if package.is_public_link]
        inboxes = [PackageFolder(self.tree, package) for package in public]
        if old and not inboxes:
            return RequestError(old[0].detail, hint=old[0].hint)
        self.inboxes, self.failures = inboxes, old
        self._check_space(inboxes)
        self._announce(inboxes, before)
        for inbox in inboxes:
            try:
                self._receive_one(program, inbox)
            except (RequestError, ArchiveError) as error:
                inbox.note(_failure(inbox, error))
                if isinstance(error, RequestError) or len(packages) == 1:
                    return error
                self.failures.append(_failure(inbox, error))
            except LockedError as error:
                self.failures.append(_failure(inbox, error))
            except TciaCovidError as error:
                return error
        return None

    def _receive_one(self, program: str, inbox: PackageFolder) -> None:
        http = self.request.options.http
        receiver = Receiver(program, inbox, self.tree, http, self.emit, self.stop)
        try:
            self.failures += receiver.run()
        finally:
            self.received += receiver.received
        inbox.note(None)

    def _unreadable(self, package: AsperaPackage) -> Failure:
        """The failure of a package whose link makes `ascli` ask for a login."""
        detail = (
            f"package '{package.title}': its link is of an old form, which ascli does not accept"
        )
        hint = f"download it with a browser from {self._page}, then 'tcia-covid adopt' it"
        return Failure("", "not-available", detail, hint=hint)

    def _check_space(self, inboxes: Sequence[PackageFolder]) -> None:
        if not self.request.options.space_check:
            return
        needed = sum(
            max(0, (inbox.package.size or 0) - inbox.size)
            for inbox in inboxes
            if inbox.missing() is None
        )
        check_space(
            self.request.output,
            needed,
            "the packages need",
            "or choose another folder with --output",
            lambda text: self.emit(Notice(text)),
        )

    def _announce(self, inboxes: Sequence[PackageFolder], before: Inventory) -> None:
        self.emit(
            RunStarted(
                series=max(0, (before.patients_expected or 0) - before.patients),
                images=max(0, (before.volumes_expected or 0) - before.volumes),
                size=sum(inbox.package.size or 0 for inbox in inboxes if inbox.missing() is None),
                already_complete=before.patients,
                output=self.request.output,
            )
        )

    def _report(self, ended: TciaCovidError | None) -> TciaCovidError | None:
        """Write the collection's report files."""
        if isinstance(ended, DestinationError):
            return ended
        try:
            update_reports(self.tree, self.collection, self.registry, self.stop, self.tree.notify)
        except TciaCovidError as error:
            if self.inboxes or not isinstance(error, DestinationError):
                return ended or error
            # A complete tree that cannot be written; the summary names its outdated reports.
        return ended


def _failure(inbox: PackageFolder, error: TciaCovidError) -> Failure:
    reason = "locked" if isinstance(error, LockedError) else "archive-error"
    detail = f"package '{inbox.package.title}': {error.message}"
    return Failure("", reason, detail, hint=error.hint)


def find_packages(collection: Collection, site: PortalApi) -> list[AsperaPackage]:
    """The Aspera packages that the page of a collection links to, in the page's order.

    Raises:
        NotAvailableError: the site does not have the collection, or its page has no such link.
        ArchiveError: no usable response.
    """
    listed = site.downloads(collection.slug) if collection.slug else []
    packages = {
        item.url: AsperaPackage(
            str(item.id), item.title or f"package {item.id}", item.url, item.size
        )
        for item in listed
        if item.url and item.is_package
    }
    if not packages:
        raise NotAvailableError(
            f"the page of {collection.name} links to no Aspera package",
            hint=f"look at it: {collection.page or 'www.cancerimagingarchive.net'}",
        )
    return list(packages.values())


def _manual_instructions(
    tree: VolumeTree, packages: Sequence[AsperaPackage]
) -> tuple[list[str], list[str]]:
    """What to do without `ascli`, in lines for people; and the commands, in order.

    The links are written to files that only their owner can read, and the commands name those: a
    link has a passcode in it, which must not be on a screen, in a log or in a process list.
    `packages` is empty if the site did not respond.
    """
    collection = tree.collection
    install = install_commands()
    links = _keep_links(tree, [package for package in packages if package.is_public_link])
    adopt = ["tcia-covid", "adopt", _FOLDER, "--collection", collection.name]
    adopt += ["--output", str(tree.root.parent)]
    receive = [receive_command(link, _FOLDER) for _, link in links]
    commands = [*install, *receive, shlex.join(adopt)]
    page = collection.page or "www.cancerimagingarchive.net"
    old = [package.title for package in packages if not package.is_public_link]
    lines = [
        f"{collection.name} is received with ascli (aspera-cli), which is not installed here:",
        *(f"  {command}" for command in install),
        "then run the same command again. Or receive the packages by hand:",
        *_receiving(links, page),
        *(f"  # {title}: ascli does not accept its link" for title in old),
        f"  {commands[-1]}",
        f"Or download them with a browser from {page}, and adopt them in the same way.",
    ]
    return lines, commands


def _receiving(links: Sequence[tuple[AsperaPackage, str]], page: str) -> Iterator[str]:
    for package, link in links:
        size = f" ({format_size(package.size)})" if package.size else ""
        yield f"  # {package.title}{size}"
        yield f"  {receive_command(link, _FOLDER)}"
    if not links:
        yield f"  {receive_command('LINK', _FOLDER)}"
        yield f"  with the address of each download button for LINK, from {page}"


def _keep_links(
    tree: VolumeTree, packages: Sequence[AsperaPackage]
) -> list[tuple[AsperaPackage, str]]:
    """Write the links to files; return each package with the argument that names its file."""
    links: list[tuple[AsperaPackage, str]] = []
    with contextlib.suppress(DestinationError, OSError):
        for package in packages:
            tree.prepare()
            folder = tree.state / "faspex" / package.key
            tree.disk.make_folder(folder)
            path = folder / "link"
            tree.write_file(path)
            path.chmod(0o600)
            path.write_text(package.url, encoding="utf-8")
            links.append((package, f"@file:{path.resolve()}"))
    return links


def _summarize(
    request: Request,
    tree: VolumeTree,
    before: Inventory,
    *,
    failures: Sequence[Failure],
    received: int,
    ended: TciaCovidError | None,
) -> Summary:
    """Count what is installed; determine the exit code. `before` is what the run began with."""
    now = Inventory.of(tree)
    summary = Summary(targets=list(request.targets), output=request.output)
    failed = {failure.series for failure in failures if failure.series}
    summary.complete = len(tree.complete_receipts().keys() - failed)
    summary.already_complete = min(before.patients, summary.complete)
    summary.failed = len(failed)
    summary.failures = list(failures)
    _expect(summary, now, accepted=request.options.accept_listed)
    summary.images_stored, summary.bytes_stored = now.volumes, now.size
    summary.bytes_received = received
    summary.fetched_from = {"aspera": summary.complete - summary.already_complete}
    _checks(summary, tree)
    summary.error = ended
    if ended is None and not failures and not now.is_complete:
        summary.failures += _shortage(now, accepted=request.options.accept_listed)
    summary.exit_code = _exit_code(summary, ended)
    return summary


def _expect(summary: Summary, now: Inventory, *, accepted: bool) -> None:
    """Set the expected counts: the registry's, unless the packages' own are accepted."""
    known = None if accepted else now.patients_expected
    summary.selected = max(known or 0, summary.complete + summary.failed)
    summary.images_expected = (None if accepted else now.volumes_expected) or now.volumes
    summary.remaining = summary.selected - summary.complete - summary.failed


def _checks(summary: Summary, tree: VolumeTree) -> None:
    sources: Counter[str] = Counter()
    for receipt in tree.complete_receipts().values():
        sources.update({image.source for image in receipt.images})
        summary.checked_size += receipt.check is Check.SIZE
        summary.checked_md5 += receipt.check is not Check.SIZE
    summary.sources = {"nbia": 0, "idc": 0} | dict(sorted(sources.items()))


def _shortage(now: Inventory, *, accepted: bool) -> list[Failure]:
    """The failure of a collection that is smaller or larger than the registry lists."""
    if accepted or now.volumes_expected is None:
        return []
    if now.exceeds:
        hint = "--accept-listed if TCIA added volumes; else remove those that do not belong to it"
        return [Failure("", "unexpected", now.compared(), hint=hint)]
    detail = f"{now.compared()}: the packages have no more"
    hint = "look at the collection's page; --accept-listed if volumes were withdrawn"
    return [Failure("", "incomplete", detail, hint=hint)]


def _exit_code(summary: Summary, ended: TciaCovidError | None) -> int:
    if isinstance(ended, InterruptedRunError | DestinationError | RequestError):
        return ended.exit_code
    if ended is not None and not summary.complete:
        return ended.exit_code
    reasons = {failure.reason for failure in summary.failures}
    if ended is None and not reasons and not summary.remaining:
        return EXIT_OK
    if reasons == {"locked"}:
        return EXIT_DESTINATION
    if not summary.complete and reasons == {"archive-error"}:
        return EXIT_ARCHIVE
    return EXIT_PARTIAL
