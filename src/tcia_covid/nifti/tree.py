"""The folder of a collection of NIfTI volumes: a patient takes the place of a series."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tcia_covid.catalog.collections import Collection
from tcia_covid.core.errors import ChecksumError, ForeignImageError, LockedError
from tcia_covid.core.events import Emit, Notice
from tcia_covid.core.events import discard as discard_event
from tcia_covid.core.models import ADOPTED, Check, Receipt, Series, StoredImage
from tcia_covid.formats.nifti import read_volume
from tcia_covid.nifti.scan import SUFFIX, Checksums, VolumeName, VolumePattern
from tcia_covid.store.disk import Disk
from tcia_covid.store.layout import Layout, collection_folder
from tcia_covid.store.receipts import StoredReceipt
from tcia_covid.store.recovery import DicomImages
from tcia_covid.store.tree import Tree


class VolumeImages(DicomImages):
    """Recognizes the volumes of one collection by their names; gzip's checksum verifies each."""

    suffix = SUFFIX
    has_uids = False
    stays_in_place = True

    def __init__(self, pattern: VolumePattern) -> None:
        self.pattern = pattern

    def is_name(self, name: str, series: str) -> bool:
        """Whether a file is called as a volume of a patient."""
        volume = self.pattern.read(name)
        return volume is not None and volume.subject == series

    def read(self, path: Path) -> tuple[str, StoredImage] | None:
        """Read a volume to its end: its patient, and the volume; None if it is damaged."""
        name = self.pattern.read(path.name)
        try:
            volume = read_volume(path)
        except (ForeignImageError, ChecksumError, OSError):
            return None
        if name is None:
            return None
        image = StoredImage(name.stem, volume.size, volume.md5, source=ADOPTED, suffix=SUFFIX)
        return name.subject, image


class VolumeTree(Tree):
    """One collection's folder: `<patient>/<volume>.nii.gz`, a receipt for each patient.

    Volumes are never taken out of a patient's folder: new ones are added to them. `emit` receives a
    notice of each file that was moved aside.
    """

    def __init__(
        self,
        output: Path,
        collection: Collection,
        disk: Disk | None = None,
        emit: Emit = discard_event,
    ) -> None:
        aspera = collection.aspera
        self.pattern = VolumePattern(aspera.file_pattern if aspera else None)
        root, images = output / collection_folder(collection.name), VolumeImages(self.pattern)
        super().__init__(root, Layout("{patient}"), disk, images)
        self.collection = collection
        self._emit = emit

    def series(self, name: VolumeName) -> Series:
        """The patient of a volume, as receipts record it."""
        collection = self.collection
        modalities, license_ = collection.modalities, collection.license
        return Series(
            uid=name.subject,
            collection=collection.name,
            patient=name.patient,
            study="",
            modality=modalities[0] if len(modalities) == 1 else None,
            license=license_.name if license_ else None,
            license_url=license_.url if license_ else None,
            data_url=f"https://doi.org/{collection.doi}" if collection.doi else None,
        )

    def complete_receipts(self) -> dict[str, Receipt]:
        """The receipts of all complete patients, by subject; no volume is opened."""
        staged = self.series_in_staging()
        return {
            receipt.series.uid: receipt
            for receipt in self.receipts.all()
            if receipt.series.uid not in staged and not self.missing_files(receipt)
        }

    def intact_files(self) -> set[str]:
        """The names of the volumes that are in place and not known to be damaged."""
        files: set[str] = set()
        for receipt in self.receipts.all():
            files |= {image.file for image in receipt.images} - self.missing_files(receipt)
        return files

    def missing_files(self, receipt: Receipt) -> set[str]:
        """The files of a patient that are not there, or that `verify` found damaged."""
        damaged, folder = self.damaged_files(receipt), self.path(receipt)
        files = {image.file for image in receipt.images}
        return {file for file in files if file in damaged or not (folder / file).is_file()}

    def note_damage(self, receipt: Receipt, files: Iterable[str], detail: str) -> None:
        """Record volumes that the next run replaces if it has intact ones."""
        lines = [
            {"file": f"{receipt.folder}/{file}", "reason": "changed", "detail": detail}
            for file in sorted(files)
        ]
        self.damage.write(receipt.series.uid, lines)

    def is_taken(self, folder: str, uid: str) -> bool:
        """Whether a folder has volumes of other patients and none of `uid`, by their names."""
        names = (self.pattern.read(file.name) for file in (self.root / folder).glob(f"*{SUFFIX}"))
        subjects = {name.subject for name in names if name is not None}
        return bool(subjects) and uid not in subjects

    def notify(self, text: str) -> None:
        """Record, and report at once, that a file was moved."""
        super().notify(text)
        self._emit(Notice(text, always=True))


@dataclass(frozen=True, slots=True)
class Inventory:
    """How much of a collection is complete, and its size."""

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
            volumes=sum(len(receipt.images) for receipt in receipts),
            size=sum(receipt.size for receipt in receipts),
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


def compare_installed(sums: Checksums, tree: VolumeTree) -> set[str]:
    """Compare the MD5s of receipts with published hashes, and record what differs.

    No volume is opened. A patient that is locked by another run is left out.

    Returns:
        the files that differ: noted as damaged, so that the next download replaces them.

    Raises:
        DestinationError: the disk.
    """
    differing: set[str] = set()
    for receipt in tree.complete_receipts().values():
        if not sums.files.isdisjoint(image.file for image in receipt.images):
            differing |= _compare(receipt, sums, tree)
    return differing


def _compare(receipt: Receipt, sums: Checksums, tree: VolumeTree) -> set[str]:
    agreed = {image.file: sums.agree(image.file, {"md5": image.md5}) for image in receipt.images}
    differing = {file for file, agrees in agreed.items() if agrees is False}
    images = tuple(
        replace(image, check=Check.MD5) if agreed[image.file] else image for image in receipt.images
    )
    try:
        with tree.hold(receipt.series) as now:
            if now != receipt:
                return set()
            if differing:
                tree.note_damage(receipt, differing, "its hash is not the one of a .sums file")
            if images != receipt.images:
                tree.receipts.write(StoredReceipt(replace(receipt, images=images), ""))
    except LockedError:
        return set()
    return differing
