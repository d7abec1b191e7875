"""Downloading the NIfTI collection: receive its packages with `ascli`, install, report."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tcia_covid.archives.aspera import AsperaPackage, find_ascli, install_commands, receive_command
from tcia_covid.archives.portal import PortalApi
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    DestinationError,
    FailureReason,
    LockedError,
    NotAvailableError,
    NotDicomError,
    RequestError,
    TciaCovidError,
)
from tcia_covid.core.events import Emit, Notice, RunStarted, discard
from tcia_covid.core.models import Failure, Outcome, State
from tcia_covid.core.summary import Summary, SummaryBuilder, exit_code_of
from tcia_covid.core.units import format_size
from tcia_covid.http.client import Client
from tcia_covid.http.settings import HttpSettings
from tcia_covid.nifti.receive import PackageFolder, Receiver
from tcia_covid.nifti.tree import Inventory, VolumeTree
from tcia_covid.selection.request import Request, check_package_request
from tcia_covid.store.disk import Disk
from tcia_covid.store.free_space import check_space
from tcia_covid.store.reports import outdated_reports, update_reports

_CONNECT_TIMEOUT, _RESPONSE_TIMEOUT = 10.0, 30.0
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
    folders: list[PackageFolder] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    received: int = 0
    """Bytes that arrived."""

    def carry_out(self) -> Summary:
        before = self.tree.complete_receipts().keys()
        inventory = Inventory.of(self.tree)
        ended: TciaCovidError | None = None
        if not inventory.is_complete:
            program = find_ascli()
            if program is None:
                raise self._without_ascli()
            packages = self._find_packages(self.request.options.http)
            self.tree.prepare()
            ended = self._receive_all(program, packages, inventory)
        return self._summary(before, self._report(ended))

    def _find_packages(self, settings: HttpSettings) -> list[AsperaPackage]:
        """The Aspera packages that the page of the collection links to, in the page's order.

        Raises:
            NotAvailableError: the site does not have the collection, or its page no such link.
            ArchiveError: no usable response.
        """
        collection = self.tree.collection
        client = Client(settings, stop=self.stop, emit=self.emit)
        try:
            site = PortalApi(client, self.request.options.site_url)
            listed = site.downloads(collection.slug) if collection.slug else []
        finally:
            client.close()
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
                hint=f"look at it: {_page(collection)}",
            )
        return list(packages.values())

    def _without_ascli(self) -> NotDicomError:
        """Show what to install and which commands to run; return the error that ends the run."""
        settings, collection = self.request.options.http, self.tree.collection
        quick = replace(
            settings,
            retries=min(1, settings.retries),
            connect_timeout=min(_CONNECT_TIMEOUT, settings.connect_timeout),
            first_byte_timeout=min(_RESPONSE_TIMEOUT, settings.first_byte_timeout),
        )
        packages: list[AsperaPackage] = []
        try:
            packages = self._find_packages(quick)
        except ArchiveError as error:
            self.emit(Notice(f"the links to the packages are not available: {error.message}"))
        lines, commands = _manual_instructions(self.tree, packages)
        for line in lines:
            self.emit(Notice(line))
        return NotDicomError(
            f"{collection.name} is published as {collection.format} files in Aspera "
            "packages, and ascli, which receives them, is not installed",
            hint="install it with 'gem install aspera-cli' and 'ascli config ascp install', or "
            f"download with a browser: {_page(collection)}",
            commands=commands,
        )

    def _receive_all(
        self, program: str, packages: Sequence[AsperaPackage], inventory: Inventory
    ) -> TciaCovidError | None:
        """Receive every package; return what ended the run early."""
        self.failures = [
            self._old_link(package) for package in packages if not package.is_public_link
        ]
        self.folders = [
            PackageFolder(self.tree, package) for package in packages if package.is_public_link
        ]
        if not self.folders:
            return RequestError(self.failures[0].detail, hint=self.failures[0].hint)
        incomplete = [folder for folder in self.folders if folder.missing() is None]
        self._check_space(incomplete)
        self.emit(
            RunStarted(
                series=max(0, (inventory.patients_expected or 0) - inventory.patients),
                images=max(0, (inventory.volumes_expected or 0) - inventory.volumes),
                size=sum(folder.package.size or 0 for folder in incomplete),
                already_complete=inventory.patients,
                output=self.request.output,
            )
        )
        for folder in self.folders:
            receiver = Receiver(program, folder, self.request.options.http, self.emit, self.stop)
            try:
                self.failures += receiver.run()
                folder.note(None)
            except LockedError as error:
                self.failures.append(Failure.of(error, subject=folder.subject))
            except (RequestError, ArchiveError) as error:
                failure = Failure.of(error, subject=folder.subject)
                failure = replace(failure, reason=FailureReason.ARCHIVE_ERROR)
                folder.note(failure)
                if isinstance(error, RequestError) or len(packages) == 1:
                    return error
                self.failures.append(failure)
            except TciaCovidError as error:
                return error
            finally:
                self.received += receiver.received
        return None

    def _old_link(self, package: AsperaPackage) -> Failure:
        """The failure of a package whose link makes `ascli` ask for a login."""
        return Failure(
            "",
            FailureReason.NOT_AVAILABLE,
            f"package '{package.title}': its link is of an old form, which ascli does not accept",
            hint=f"download it with a browser from {_page(self.tree.collection)}, then "
            "'tcia-covid adopt' it",
        )

    def _check_space(self, folders: Sequence[PackageFolder]) -> None:
        if self.request.options.space_check:
            check_space(
                self.request.output,
                sum(max(0, (folder.package.size or 0) - folder.size) for folder in folders),
                "the packages need",
                "or choose another folder with --output",
                lambda text: self.emit(Notice(text)),
            )

    def _report(self, ended: TciaCovidError | None) -> TciaCovidError | None:
        """Write the collection's report files."""
        tree = self.tree
        if isinstance(ended, DestinationError):
            return ended
        try:
            update_reports(tree, tree.collection, self.registry, self.stop, tree.notify)
        except TciaCovidError as error:
            if self.folders or not isinstance(error, DestinationError):
                return ended or error
            # A complete tree that cannot be written; the summary names its outdated reports.
        return ended

    def _summary(self, before: Container[str], ended: TciaCovidError | None) -> Summary:
        """Count what is installed; `before` are the patients that were complete already."""
        tree, accepted = self.tree, self.request.options.accept_listed
        failed = {failure.series for failure in self.failures if failure.series}
        builder = SummaryBuilder(self.request.targets, self.request.output)
        for subject, receipt in tree.complete_receipts().items():
            if subject not in failed:
                state = State.ALREADY if subject in before else State.COMPLETE
                builder.outcome(Outcome(receipt.series, state, receipt), tree.root)
        summary = builder.finish(self.failures, tree.notices, ended)
        now = Inventory.of(tree)
        if ended is None and not self.failures and not accepted:
            summary.failures += _differences(now)
        summary.failed = len(failed)
        expected = 0 if accepted else now.patients_expected or 0
        summary.selected = max(expected, summary.complete + summary.failed)
        summary.remaining = summary.selected - summary.complete - summary.failed
        summary.images_expected = (0 if accepted else now.volumes_expected or 0) or now.volumes
        summary.bytes_received = self.received
        interrupted = [folder.size for folder in self.folders if folder.is_interrupted]
        summary.partial_series, summary.partial_bytes = len(interrupted), sum(interrupted)
        names = outdated_reports(tree)
        summary.outdated_reports = [f"{tree.root.name}/{name}" for name in names]
        summary.exit_code = exit_code_of(summary)
        return summary


def _page(collection: Collection) -> str:
    return collection.page or "www.cancerimagingarchive.net"


def _manual_instructions(
    tree: VolumeTree, packages: Sequence[AsperaPackage]
) -> tuple[list[str], list[str]]:
    """What to do without `ascli`, in lines for people; and the commands, in order.

    The links are written to files that only their owner can read, and the commands name those: a
    link has a passcode in it, which must not be on a screen, in a log or in a process list.
    `packages` is empty if the site did not respond.
    """
    collection, install = tree.collection, install_commands()
    page = _page(collection)
    links = _keep_links(tree, [package for package in packages if package.is_public_link])
    adopt = ["tcia-covid", "adopt", _FOLDER, "--collection", collection.name]
    adopt += ["--output", str(tree.root.parent)]
    receive = [receive_command(link, _FOLDER) for _, link in links]
    commands = [*install, *receive, shlex.join(adopt)]
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
            folder = PackageFolder(tree, package).folder
            tree.disk.make_folder(folder)
            path = folder / "link"
            tree.write_file(path)
            path.chmod(0o600)
            path.write_text(package.url, encoding="utf-8")
            links.append((package, f"@file:{path.resolve()}"))
    return links


def _differences(now: Inventory) -> Iterator[Failure]:
    """The failure of a collection that is smaller or larger than the registry lists."""
    if now.exceeds:
        hint = "--accept-listed if TCIA added volumes; else remove those that do not belong to it"
        yield Failure("", FailureReason.UNEXPECTED, now.compared(), hint=hint)
    elif now.volumes_expected is not None and not now.is_complete:
        hint = "look at the collection's page; --accept-listed if volumes were withdrawn"
        detail = f"{now.compared()}: the packages have no more"
        yield Failure("", FailureReason.INCOMPLETE, detail, hint=hint)
