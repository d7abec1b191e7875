"""The result of installing volumes, and what is installed then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tcia_covid.core.errors import (
    EXIT_ARCHIVE,
    EXIT_DESTINATION,
    EXIT_OK,
    EXIT_PARTIAL,
    DestinationError,
    InterruptedRunError,
    RequestError,
    TciaCovidError,
)
from tcia_covid.core.models import Check, Failure
from tcia_covid.core.summary import Summary
from tcia_covid.nifti.scan import RejectedFile
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.selection.request import Request
from tcia_covid.store.placement import PlacementMethod

_LEFT = frozenset({"conflict", "damaged", "unreadable", "unfinished"})
"""Reasons for rejecting a file that may be a volume of the collection."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """How much of a collection is complete, and how much there is of it."""

    patients: int
    volumes: int
    size: int
    """Bytes."""
    patients_expected: int | None
    volumes_expected: int | None

    @classmethod
    def of(cls, tree: VolumeTree) -> Inventory:
        """Count by the receipts; no volume is opened."""
        receipts = tree.complete_receipts().values()
        return cls(
            patients=len(receipts),
            volumes=sum(len(one.images) for one in receipts),
            size=sum(one.size for one in receipts),
            patients_expected=tree.collection.patients,
            volumes_expected=tree.collection.volumes,
        )

    @property
    def is_complete(self) -> bool:
        """Whether all patients and volumes of the registry are complete."""
        return bool(self.volumes_expected) and (self.patients, self.volumes) == (
            self.patients_expected or self.patients,
            self.volumes_expected,
        )

    @property
    def exceeds(self) -> bool:
        """Whether there are more volumes than the registry lists."""
        return self.volumes_expected is not None and self.volumes > self.volumes_expected

    def compared(self) -> str:
        """A sentence that compares the counts with the registry; empty where that has none."""
        if self.volumes_expected is None:
            return ""
        if self.exceeds:
            return (
                f"{self.volumes:,} volumes of {self.patients:,} patients are installed, more "
                f"than the {self.volumes_expected:,} in the registry"
            )
        patients = f" of {self.patients_expected:,}" if self.patients_expected is not None else ""
        return (
            f"{self.volumes:,} of {self.volumes_expected:,} volumes of {self.patients:,}{patients} "
            "patients are installed"
        )


@dataclass(slots=True)
class VolumeAdoption:
    """What happened to the volumes below a folder."""

    patients_found: int = 0
    patients_adopted: int = 0
    """Are complete now, with volumes that were not there before."""
    patients_already_complete: int = 0
    """Had all of these volumes before."""
    volumes_found: int = 0
    volumes_adopted: int = 0
    volumes_already_complete: int = 0
    size: int = 0
    """Bytes of the volumes that were adopted."""
    placed: Counter[PlacementMethod] = field(default_factory=Counter)
    """Volumes by method."""
    verified: int = 0
    """Adopted volumes whose hash is one of a `.sums` file."""
    not_removed: int = 0
    """Originals of installed volumes that `move` did not remove."""
    rejected: list[RejectedFile] = field(default_factory=list)
    """Files that were not installed."""
    lost: list[str] = field(default_factory=list)
    """Volumes that are not installed, and of which no file is intact or known to be right."""
    mismatched: list[str] = field(default_factory=list)
    """Installed volumes whose hash is not the one in a `.sums` file."""
    failures: list[Failure] = field(default_factory=list)
    """Patients that could not be installed."""
    missing: list[str] = field(default_factory=list)
    """Volumes that a `.sums` file lists and that are not installed."""
    notices: list[str] = field(default_factory=list)
    """Files in the way that are not this program's, each with its new path."""
    inventory: Inventory | None = None
    """All that is installed now, by earlier runs as well."""

    @property
    def exit_code(self) -> int:
        """0 if all volumes that were found or are listed are installed, and no others."""
        left = any(file.reason in _LEFT for file in self.rejected)
        left = left or (self.inventory is not None and self.inventory.exceeds)
        problems = left or self.lost or self.mismatched or self.missing or self.failures
        return EXIT_PARTIAL if problems else EXIT_OK

    def of(self, reason: str) -> list[RejectedFile]:
        """The files that were rejected for one reason."""
        return [file for file in self.rejected if file.reason == reason]


def summarize(
    request: Request,
    tree: VolumeTree,
    before: Inventory,
    *,
    failures: Sequence[Failure],
    received: int,
    ended: TciaCovidError | None,
) -> Summary:
    """Count what is installed, and determine the exit code.

    Args:
        request: what was asked for.
        tree: the installed volumes.
        before: what was installed when the run began.
        failures: why volumes or packages are not there.
        received: bytes that arrived.
        ended: what ended the run early.
    """
    now = Inventory.of(tree)
    summary = Summary(targets=list(request.targets), output=request.output)
    failed = {one.series for one in failures if one.series}
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
    reasons = {one.reason for one in summary.failures}
    if ended is None and not reasons and not summary.remaining:
        return EXIT_OK
    if reasons == {"locked"}:
        return EXIT_DESTINATION
    if not summary.complete and reasons == {"archive-error"}:
        return EXIT_ARCHIVE
    return EXIT_PARTIAL
