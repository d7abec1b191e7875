"""Installing one patient's volumes: read each to its end, choose one of each name, commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ChecksumError,
    ForeignImageError,
    IncompleteSeriesError,
    LockedError,
    SeriesError,
)
from tcia_covid.core.events import BytesStored, Emit, SeriesFinished, SeriesStarted
from tcia_covid.core.models import Check, Failure, Outcome, Receipt, Series, State
from tcia_covid.formats.nifti import Volume, read_volume
from tcia_covid.nifti.scan import SUFFIX, RejectedFile, ScanResult, VolumeName
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.store.placement import FilePlacer, Mode, PlacementMethod
from tcia_covid.store.staging import Staging


class _HashedVolume(NamedTuple):
    """A volume as `FilePlacer` needs it."""

    file: str
    uid: str
    size: int
    modified: int
    md5: str


@dataclass(slots=True)
class InstalledPatient:
    """What happened to one patient's volumes."""

    series: Series
    receipt: Receipt | None = None
    failure: Failure | None = None
    found: int = 0
    already_complete: list[Volume] = field(default_factory=list)
    """Volumes that were installed before, with these bytes."""
    duplicates: list[Volume] = field(default_factory=list)
    """Further files of the same bytes."""
    placed: list[tuple[Volume, PlacementMethod]] = field(default_factory=list)
    verified: int = 0
    not_removed: int = 0
    rejected: list[RejectedFile] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Volumes that are not installed, and of which no file is intact or known to be right."""

    def reject(self, file: str, reason: str, detail: str) -> None:
        """Add a file that is not installed."""
        self.rejected.append(RejectedFile(file, reason, detail))

    @property
    def outcome(self) -> Outcome:
        """The outcome as events report it."""
        state = State.COMPLETE if self.placed else State.ALREADY
        if self.failure is not None:
            state = State.LOCKED if self.failure.reason == "locked" else State.FAILED
        return Outcome(self.series, state, self.receipt, self.failure)


class Installer:
    """Installs patients, one by one; safe for threads.

    Args:
        scanned: the files of a folder.
        tree: where they belong.
        mode: how files are placed.
        source: recorded as the source of the volumes.
        emit: receives the progress of patients and bytes.
        stop: ends it early.
    """

    def __init__(
        self,
        scanned: ScanResult,
        tree: VolumeTree,
        mode: Mode,
        source: str,
        emit: Emit,
        stop: CancelToken,
    ) -> None:
        self._scanned = scanned
        self._tree = tree
        self._mode = mode
        self._source = source
        self._emit = emit
        self._stop = stop

    def patients(self) -> Iterator[list[VolumeName]]:
        """The volumes of each patient."""
        yield from self._scanned.subjects().values()

    def install(self, names: Sequence[VolumeName]) -> InstalledPatient:
        """Install one patient's volumes.

        Raises:
            DestinationError: the tree cannot be written.
            TciaCovidError: the run is to end.
        """
        size = sum(_size(path) for name in names for path in self._scanned.volumes[name])
        series = replace(self._tree.series(names[0]), image_count=len(names), size=size)
        patient = InstalledPatient(series, found=len(names))
        self._emit(SeriesStarted(series, 0, 0))
        chosen = [self._choose(name, patient) for name in names]
        try:
            with self._tree.hold(series) as receipt:
                volumes = [volume for volume in chosen if volume is not None]
                patient.receipt = self._update(receipt, volumes, patient)
            self._remove_originals(patient)
            self._record_lost(patient)
        except LockedError as error:
            patient.failure = Failure(series.uid, "locked", error.message, hint=error.hint)
        except SeriesError as error:
            patient.failure = Failure(
                series.uid, error.reason, error.message, error.missing, error.hint
            )
            self._record(patient.failure)
        self._emit(SeriesFinished(patient.outcome))
        return patient

    def _choose(self, name: VolumeName, patient: InstalledPatient) -> Volume | None:
        """Read all files of one name, and choose one of them."""
        read = [self._read(path, name.file, patient) for path in self._scanned.volumes[name]]
        right = []
        for volume in filter(None, read):
            if self._scanned.sums.agree(name.file, volume.digests) is False:
                detail = "its hash is not that of the .sums file"
                patient.reject(self._scanned.shown(volume.path), "damaged", detail)
            else:
                right.append(volume)
        if len({volume.md5 for volume in right}) > 1:
            for volume in right:
                detail = "another file of that name differs"
                patient.reject(self._scanned.shown(volume.path), "conflict", detail)
            right = []
        for volume in right[1:]:
            detail = f"the same volume as {self._scanned.shown(right[0].path)}"
            patient.reject(self._scanned.shown(volume.path), "duplicate", detail)
            patient.duplicates.append(volume)
        if not right:
            patient.lost.append(name.file)
        return right[0] if right else None

    def _read(self, path: Path, file: str, patient: InstalledPatient) -> Volume | None:
        def on_bytes(count: int) -> None:
            self._stop.check()
            self._emit(BytesStored(patient.series.uid, count))

        try:
            algorithms = self._scanned.sums.algorithms(file)
            return read_volume(path, algorithms=algorithms, on_bytes=on_bytes)
        except ForeignImageError as error:
            reason, detail = "foreign", error.message
        except ChecksumError as error:
            reason, detail = "damaged", error.message
        except OSError as error:
            reason, detail = "unreadable", error.strerror or str(error)
        patient.reject(self._scanned.shown(path), reason, detail)
        return None

    def _update(
        self, receipt: Receipt | None, volumes: Sequence[Volume], patient: InstalledPatient
    ) -> Receipt | None:
        """Install the volumes that are not in place yet; return the receipt of all that are."""
        installed = {image.file: image for image in receipt.images} if receipt else {}
        new = []
        for volume in volumes:
            known = installed.get(volume.path.name)
            if known is None:
                new.append(volume)
            elif known.md5 == volume.md5:
                patient.already_complete.append(volume)
            else:
                detail = "another version of it is installed"
                patient.reject(self._scanned.shown(volume.path), "conflict", detail)
        if new:
            return self._commit(new, patient)
        if receipt is not None:
            self._tree.clear_staging(patient.series)
        return receipt

    def _commit(self, new: Sequence[Volume], patient: InstalledPatient) -> Receipt:
        placer = self._placer()
        with self._tree.open_staging(patient.series, lambda count: None) as staging:
            self._check_complete(staging, {volume.path.name for volume in new})
            for volume in new:
                verified = bool(self._scanned.sums.agree(volume.path.name, volume.digests))
                check = Check.MD5 if verified else Check.SIZE
                method = placer.bring(self._hashed(volume), check, staging)
                if not method:
                    raise ChecksumError(f"{volume.path.name} changed since it was read")
                patient.placed.append((volume, method))
                patient.verified += verified
            staging.series = replace(
                patient.series, image_count=len(staging.images), size=staging.size
            )
            return self._tree.commit(staging)

    def _check_complete(self, staging: Staging, new: set[str]) -> None:
        """Leave a damaged patient unchanged until all of its volumes are available.

        Raises:
            IncompleteSeriesError: one that the receipt names is missing or damaged.
        """
        absent = [image for uid, image in staging.known.items() if uid not in staging.images]
        missing = tuple(sorted({image.file for image in absent} - new))
        stored = self._tree.receipts.read(staging.series.uid)
        if missing and stored is not None:
            self._tree.note_damage(stored.receipt, missing, "missing, or not as its receipt says")
            raise IncompleteSeriesError(
                f"patient {staging.series.patient}: {', '.join(missing)} was installed before and "
                "is missing or damaged now",
                hint="adopt, or download, it together with the others",
                missing=missing,
            )

    def _remove_originals(self, patient: InstalledPatient) -> None:
        """Remove the originals of a move, now that their bytes are in the tree."""
        if self._mode not in ("move", "take") or patient.receipt is None:
            return
        if self._mode == "move":
            self._tree.note_moved_from(self._scanned.top)
        folder, placer = self._tree.path(patient.receipt), self._placer()
        originals = [volume for volume, method in patient.placed if method != "rename"]
        originals += patient.already_complete
        if self._mode == "take":
            originals += patient.duplicates
        for volume in originals:
            patient.not_removed += not placer.remove(self._hashed(volume), folder)

    def _placer(self) -> FilePlacer:
        return FilePlacer(
            self._scanned.top,
            self._mode,
            self._tree.disk,
            source=self._source,
            suffix=SUFFIX,
            on_bytes=lambda count: self._stop.check(),
        )

    def _hashed(self, volume: Volume) -> _HashedVolume:
        uid = volume.path.name.removesuffix(SUFFIX)
        file = self._scanned.shown(volume.path)
        return _HashedVolume(file, uid, volume.size, volume.modified, volume.md5)

    def _record_lost(self, patient: InstalledPatient) -> None:
        """Record volumes that are not installed, although the patient's others are."""
        receipt = patient.receipt
        installed = {image.file for image in receipt.images} if receipt else set()
        patient.lost = [file for file in patient.lost if file not in installed]
        if patient.lost:
            files = ", ".join(patient.lost)
            detail = f"patient {patient.series.patient}: no intact file of {files} was found"
            self._record(Failure(patient.series.uid, "damaged", detail, tuple(patient.lost)))

    def _record(self, failure: Failure) -> None:
        """Record a failure for `status`."""
        try:
            self._tree.failures.write(failure.series, [asdict(failure)])
        except OSError:
            return  # the result has it


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
