"""Downloading a collection of volumes: its packages, received by `ascli`, taken in, reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tcia_covid.archives.site import SiteApi
from tcia_covid.errors import (
    ArchiveError,
    DestinationError,
    HeldError,
    NotDicomError,
    RequestError,
    TciaCovidError,
)
from tcia_covid.events import Emit, Notice, RunStarted, discard
from tcia_covid.faspex import Package, find_ascli
from tcia_covid.http import Client
from tcia_covid.model import Failure
from tcia_covid.nifti.guide import guide
from tcia_covid.nifti.inbox import Inbox
from tcia_covid.nifti.packages import find_packages
from tcia_covid.nifti.receive import Receiver
from tcia_covid.nifti.result import Standing
from tcia_covid.nifti.summary import summarise
from tcia_covid.nifti.targets import refuse
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.registry import Collection, Registry
from tcia_covid.report.stale import outdated_reports
from tcia_covid.report.write import write_owed_reports
from tcia_covid.request import Request
from tcia_covid.settings import HttpSettings
from tcia_covid.space import check_space
from tcia_covid.stop import Stop
from tcia_covid.store import Disk
from tcia_covid.summary import Summary

_GUIDE_CONNECT, _GUIDE_ANSWER = 10.0, 30.0
"""Seconds that the site gets where its links are only to be shown."""


def download(
    collection: Collection,
    request: Request,
    registry: Registry,
    *,
    emit: Emit = discard,
    stop: Stop | None = None,
) -> Summary:
    """Bring a collection of volumes into the layout; running it again goes on, and mends.

    Nothing is asked of anybody where all that the registry knows of stands.

    Args:
        collection: published as Aspera packages.
        request: the output and the options; no filters.
        registry: for TCIA's own citation.
        emit: hears of progress.
        stop: ends it early; what is complete is kept.

    Raises:
        NotDicomError: `ascli` is not installed; notices told what to do.
        RequestError: it cannot be carried out as asked.
        ArchiveError: the site gave no usable answer.
        DestinationError: the folder cannot be used.

    What goes wrong after the transfer began is in the summary, not raised. The summary's time is
    the caller's affair, and so is the event that ends a run.
    """
    refuse(collection, request)
    return _Run(collection, request, registry, emit, stop or Stop()).carry_out()


class _Run:
    def __init__(
        self,
        collection: Collection,
        request: Request,
        registry: Registry,
        emit: Emit,
        stop: Stop,
    ) -> None:
        self._collection = collection
        self._request = request
        self._registry = registry
        self._emit = emit
        self._stop = stop
        disk = Disk(durable=request.options.durable)
        self._tree = VolumeTree(Path(request.output), collection, disk, emit)
        self._inboxes: list[Inbox] = []
        self._failures: list[Failure] = []
        self._received = 0

    def carry_out(self) -> Summary:
        before = Standing.of(self._tree)
        ended: TciaCovidError | None = None
        if not before.is_whole:
            program = find_ascli()
            if program is None:
                raise self._without_ascli()
            packages = self._packages(self._request.options.http)
            self._tree.prepare()
            ended = self._receive(program, packages, before)
        ended = self._report(ended)
        summary = summarise(
            self._request,
            self._tree,
            before,
            failures=self._failures,
            received=self._received,
            ended=ended,
        )
        summary.notices += self._tree.notices
        kept = [inbox.size for inbox in self._inboxes if inbox.is_interrupted]
        names = outdated_reports(self._tree)
        summary.outdated_reports = [f"{self._tree.root.name}/{name}" for name in names]
        summary.kept_series, summary.kept_bytes = len(kept), sum(kept)
        return summary

    def _packages(self, settings: HttpSettings) -> list[Package]:
        client = Client(settings, stop=self._stop, emit=self._emit)
        try:
            return find_packages(self._collection, SiteApi(client, self._request.options.site_url))
        finally:
            client.close()

    def _without_ascli(self) -> NotDicomError:
        """Say what to install and what to type; give the error that ends the run."""
        settings = self._request.options.http
        hurried = replace(
            settings,
            retries=min(1, settings.retries),
            connect_timeout=min(_GUIDE_CONNECT, settings.connect_timeout),
            first_byte_timeout=min(_GUIDE_ANSWER, settings.first_byte_timeout),
        )
        packages: list[Package] = []
        try:
            packages = self._packages(hurried)
        except ArchiveError as error:
            self._emit(Notice(f"the links to the packages could not be had: {error.message}"))
        told = guide(self._tree, packages)
        for line in told.lines:
            self._emit(Notice(line))
        return NotDicomError(
            f"{self._collection.name} is published as {self._collection.format} files in Aspera "
            "packages, and ascli, which receives them, is not installed",
            hint="install it with 'gem install aspera-cli' and 'ascli config ascp install', or "
            f"download with a browser: {self._page}",
            commands=told.commands,
        )

    @property
    def _page(self) -> str:
        return self._collection.page or "www.cancerimagingarchive.net"

    def _receive(
        self, program: str, packages: Sequence[Package], before: Standing
    ) -> TciaCovidError | None:
        """Receive every package; gives what ended the run early."""
        old = [self._unreadable(one) for one in packages if not one.is_public_link]
        inboxes = [Inbox(self._tree, one) for one in packages if one.is_public_link]
        if old and not inboxes:
            return RequestError(old[0].detail, hint=old[0].hint)
        self._inboxes, self._failures = inboxes, old
        self._check_space(inboxes)
        self._announce(inboxes, before)
        for inbox in inboxes:
            try:
                self._receive_one(program, inbox)
            except (RequestError, ArchiveError) as error:
                inbox.note(_failure(inbox, error))
                if isinstance(error, RequestError) or len(packages) == 1:
                    return error
                self._failures.append(_failure(inbox, error))
            except HeldError as error:
                self._failures.append(_failure(inbox, error))
            except TciaCovidError as error:
                return error
        return None

    def _receive_one(self, program: str, inbox: Inbox) -> None:
        receiver = Receiver(program, inbox, self._tree, self._request, self._emit, self._stop)
        try:
            self._failures += receiver.run()
        finally:
            self._received += receiver.received
        inbox.note(None)

    def _unreadable(self, package: Package) -> Failure:
        """The failure of a package whose link `ascli` takes for one that needs a login."""
        detail = f"package '{package.title}': its link is of an old form, which ascli does not take"
        hint = f"download it with a browser from {self._page}, then 'tcia-covid adopt' it"
        return Failure("", "not-available", detail, hint=hint)

    def _check_space(self, inboxes: Sequence[Inbox]) -> None:
        needed = sum(
            max(0, (inbox.package.size or 0) - inbox.size)
            for inbox in inboxes
            if inbox.lacking() is None
        )
        check_space(
            self._request.output,
            needed,
            "the packages need",
            "or choose another folder with --output",
        )

    def _announce(self, inboxes: Sequence[Inbox], before: Standing) -> None:
        self._emit(
            RunStarted(
                series=max(0, (before.patients_expected or 0) - before.patients),
                images=max(0, (before.volumes_expected or 0) - before.volumes),
                size=sum(one.package.size or 0 for one in inboxes if one.lacking() is None),
                already_complete=before.patients,
                output=self._request.output,
            )
        )

    def _report(self, ended: TciaCovidError | None) -> TciaCovidError | None:
        """Write the collection's report files, so that they cover what is complete."""
        if isinstance(ended, DestinationError):
            return ended
        try:
            write_owed_reports(
                self._tree, self._collection, self._registry, self._stop, self._tree.tell
            )
        except TciaCovidError as error:
            return ended or error
        return ended


def _failure(inbox: Inbox, error: TciaCovidError) -> Failure:
    reason = "held" if isinstance(error, HeldError) else "archive"
    detail = f"package '{inbox.package.title}': {error.message}"
    return Failure("", reason, detail, hint=error.hint)
