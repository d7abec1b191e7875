"""What taking volumes in came to, and what stands then."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tcia_covid.errors import EXIT_OK, EXIT_PARTIAL
from tcia_covid.model import Failure
from tcia_covid.nifti.finding import Unfit
from tcia_covid.nifti.placing import Way
from tcia_covid.nifti.tree import VolumeTree

_LEFT = frozenset({"conflict", "damaged", "unreadable", "unfinished"})
"""Reasons for which a file was not taken that may be a volume of the collection."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of a collection stands whole, and how much there is of it."""

    patients: int
    volumes: int
    size: int
    """Bytes."""
    patients_expected: int | None
    volumes_expected: int | None

    @classmethod
    def of(cls, tree: VolumeTree) -> Standing:
        """Count by the receipts; no volume is opened."""
        receipts = tree.sound().values()
        return cls(
            patients=len(receipts),
            volumes=sum(len(one.images) for one in receipts),
            size=sum(one.size for one in receipts),
            patients_expected=tree.collection.patients,
            volumes_expected=tree.collection.volumes,
        )

    @property
    def is_whole(self) -> bool:
        """Whether it is all that the registry knows of."""
        return bool(self.volumes_expected) and (self.patients, self.volumes) == (
            self.patients_expected or self.patients,
            self.volumes_expected,
        )

    @property
    def exceeds(self) -> bool:
        """Whether there are volumes that the registry does not know of."""
        return self.volumes_expected is not None and self.volumes > self.volumes_expected

    def compared(self) -> str:
        """The counts beside those of the registry, in a sentence; empty where it has none."""
        if self.volumes_expected is None:
            return ""
        if self.exceeds:
            return (
                f"{self.volumes:,} volumes of {self.patients:,} patients stand, more than the "
                f"{self.volumes_expected:,} that the registry knows"
            )
        patients = f" of {self.patients_expected:,}" if self.patients_expected is not None else ""
        return (
            f"{self.volumes:,} of {self.volumes_expected:,} volumes of {self.patients:,}{patients} "
            "patients stand"
        )


@dataclass(slots=True)
class VolumeAdoption:
    """What became of the volumes below a folder."""

    patients_found: int = 0
    patients_adopted: int = 0
    """Stand whole now, with volumes that were not there before."""
    patients_there: int = 0
    """Stood before, with all of these volumes."""
    volumes_found: int = 0
    volumes_adopted: int = 0
    volumes_there: int = 0
    size: int = 0
    """Bytes of the volumes that were adopted."""
    ways: Counter[Way] = field(default_factory=Counter)
    """Volumes by the way that they took."""
    proved: int = 0
    """Adopted volumes whose hash is one of a `.sums` file."""
    not_removed: int = 0
    """Originals of volumes that stand, which were to be moved and are still there."""
    unfit: list[Unfit] = field(default_factory=list)
    """Files that were not taken."""
    lost: list[str] = field(default_factory=list)
    """Volumes that do not stand, and of which no file was sound or known to be right."""
    refuted: list[str] = field(default_factory=list)
    """Volumes that stand, and whose hash is not the one of a `.sums` file."""
    failures: list[Failure] = field(default_factory=list)
    """Patients that could not be taken in."""
    missing: list[str] = field(default_factory=list)
    """Volumes that a `.sums` file lists, and that do not stand now."""
    notices: list[str] = field(default_factory=list)
    """Files that were in the way and are not this program's, and where each was moved to."""
    standing: Standing | None = None
    """All that stands now, earlier runs' included."""

    @property
    def exit_code(self) -> int:
        """0 if what was found, or is listed, stands, and no more than the registry knows."""
        left = any(one.reason in _LEFT for one in self.unfit)
        left = left or (self.standing is not None and self.standing.exceeds)
        troubles = left or self.lost or self.refuted or self.missing or self.failures
        return EXIT_PARTIAL if troubles else EXIT_OK

    def of(self, reason: str) -> list[Unfit]:
        """The files that were not taken for one reason."""
        return [one for one in self.unfit if one.reason == reason]
