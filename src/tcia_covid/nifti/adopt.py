"""Adopting volumes: read each to its end, choose one of each name, commit patient by patient."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    EXIT_OK,
    EXIT_PARTIAL,
    ChecksumError,
    FailureReason,
    ForeignImageError,
    IncompleteSeriesError,
    LockedError,
    RequestError,
    SeriesError,
)
from tcia_covid.core.events import BytesStored, Emit, Notice, SeriesFinished, SeriesStarted, discard
from tcia_covid.core.limits import processors
from tcia_covid.core.models import ADOPTED, Check, Failure, Outcome, Receipt, Series, State
from tcia_covid.core.parallel import parallel_map
from tcia_covid.formats.nifti import read_volume
from tcia_covid.nifti.scan import SUFFIX, RejectedFile, ScanResult, VolumeName, find_volumes
from tcia_covid.nifti.tree import Inventory, VolumeTree, compare_installed
from tcia_covid.store.disk import Disk, file_size
from tcia_covid.store.placement import (
    FilePlacer,
    FoundFile,
    Mode,
    PlacementMethod,
    check_move,
    refuse_own_folder,
)
from tcia_covid.store.reports import outdated_notice, reports_at_end, update_reports
from tcia_covid.store.staging import Staging

_NOT_ADOPTED = frozenset({"conflict", "damaged", "unreadable", "unfinished"})
"""Reasons for rejecting a file that may be a volume of the collection."""


@dataclass(frozen=True, slots=True)
class PatientCounts:
    """Numbers of patients."""

    found: int
    adopted: int
    """Are complete now, with volumes that were not there before."""
    already_complete: int
    """Had all of these volumes before."""


@dataclass(frozen=True, slots=True)
class VolumeCounts:
    """Numbers of volumes."""

    found: int
    adopted: int
    already_complete: int
    verified: int
    """Adopted volumes whose hash is one of a `.sums` file."""


@dataclass(slots=True)
class VolumeAdoption:
    """What happened to the volumes below a folder."""

    directory: str
    output: str
    mode: Mode
    patients: PatientCounts
    volumes: VolumeCounts
    inventory: Inventory
    """All that is installed now, by earlier runs as well."""
    size: int
    """Bytes of the volumes that were adopted."""
    placed: dict[PlacementMethod, int]
    """Volumes by method."""
    not_removed: int
    """Originals of installed volumes that `move` did not remove."""
    rejected: list[RejectedFile]
    """Files that were not installed."""
    lost: list[str]
    """Volumes that are not installed, and of which no intact file was found."""
    mismatched: list[str]
    """Installed volumes whose hash is not the one in a `.sums` file."""
    missing: list[str]
    """Volumes that a `.sums` file lists and that are not installed."""
    failures: list[Failure]
    """Patients that could not be installed."""
    notices: list[str] = field(default_factory=list)
    """Files in the way that are not this program's, each with its new path."""

    @property
    def exit_code(self) -> int:
        """0 if all volumes that were found or are listed are installed, and no others."""
        is_left = any(file.reason in _NOT_ADOPTED for file in self.rejected)
        is_extra = self.inventory.exceeds
        problems = self.lost or self.mismatched or self.missing or self.failures
        return EXIT_PARTIAL if is_left or is_extra or problems else EXIT_OK

    def of(self, reason: str) -> list[RejectedFile]:
        """The files that were rejected for one reason."""
        return [file for file in self.rejected if file.reason == reason]


def adopt_volumes(
    directory: Path,
    output: Path,
    collection: Collection,
    registry: Registry,
    *,
    mode: Mode = "link",
    durable: bool = True,
    jobs: int | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
) -> VolumeAdoption:
    """Install the intact volumes of any folder; how files are arranged in it does not matter.

    The arguments and errors are those of `tcia_covid.adopt`; `move` removes a patient's files once
    the patient is complete.
    """
    stop = stop or CancelToken()
    tree = VolumeTree(output, collection, Disk(durable=durable), emit)
    refuse_own_folder(directory, [tree.root])
    scanned = find_volumes(directory, tree.pattern, skipped=[Path(os.path.realpath(tree.root))])
    if not scanned.volumes and not tree.has_moved_from(directory):
        raise RequestError(
            f"there is no volume of {collection.name} in {directory}",
            hint=f"they are called {tree.pattern.text}",
        )
    if mode == "move":
        check_move(directory, has_tree=scanned.has_tree)

    def report() -> None:
        if not update_reports(tree, collection, registry, stop, tree.notify):
            emit(Notice(outdated_notice(tree)))

    tree.prepare()
    with reports_at_end(report):
        result = install_volumes(scanned, tree, mode=mode, jobs=jobs, emit=emit, stop=stop)
    result.notices += tree.notices
    return result


def install_volumes(
    scanned: ScanResult,
    tree: VolumeTree,
    *,
    mode: Mode = "link",
    source: str = ADOPTED,
    jobs: int | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
) -> VolumeAdoption:
    """Install the volumes of a folder that are intact.

    Each is read to its end: gzip's CRC and length, the NIfTI-1 header, the hash in a `.sums` file
    next to it. Installed volumes are compared with these hashes, too. No file is changed, except
    that `move` removes a patient's files once the patient is complete.

    The tree must have been prepared. By default there are as many threads (`jobs`) as processors,
    four at most. `source` is recorded as the source of the volumes.

    Raises:
        DestinationError: the tree cannot be written.
        TciaCovidError: `stop` was set.
    """
    stop = stop or CancelToken()
    placer = FilePlacer(
        scanned.top,
        mode,
        tree.disk,
        source=source,
        suffix=SUFFIX,
        on_bytes=lambda count: stop.check(),
    )
    installer = _Installer(scanned, tree, mode, placer, emit, stop)
    differing = compare_installed(scanned.sums, tree)
    threads = jobs or min(4, processors())
    subjects = scanned.subjects().values()
    patients = [patient for _, patient in parallel_map(installer.install, subjects, threads, stop)]
    installed = [patient for patient in patients if patient.failure is None]
    placed = [image for patient in installed for image in patient.placed]
    absent = scanned.sums.files - tree.intact_files()
    return VolumeAdoption(
        directory=str(scanned.top),
        output=str(tree.root.parent),
        mode=mode,
        patients=PatientCounts(
            found=len(patients),
            adopted=sum(bool(patient.placed) for patient in installed),
            already_complete=sum(
                bool(patient.already_complete) and not patient.placed for patient in installed
            ),
        ),
        volumes=VolumeCounts(
            found=len(scanned.volumes),
            adopted=len(placed),
            already_complete=sum(len(patient.already_complete) for patient in patients),
            verified=sum(check is Check.MD5 for _, check, _ in placed),
        ),
        inventory=Inventory.of(tree),
        size=sum(file.size for file, _, _ in placed),
        placed=dict(Counter(method for _, _, method in placed)),
        not_removed=sum(patient.not_removed for patient in patients),
        rejected=[*scanned.rejected, *(file for patient in patients for file in patient.rejected)],
        lost=[file for patient in patients for file in patient.lost],
        mismatched=sorted(absent & differing),
        missing=sorted(absent - differing),
        failures=[patient.failure for patient in patients if patient.failure is not None],
    )


@dataclass(slots=True)
class _Patient:
    """One patient's volumes, and what happened to them."""

    series: Series
    receipt: Receipt | None = None
    failure: Failure | None = None
    already_complete: list[FoundFile] = field(default_factory=list)
    """Volumes that were installed before, with these bytes."""
    duplicates: list[FoundFile] = field(default_factory=list)
    """Further files of the same bytes."""
    placed: list[tuple[FoundFile, Check, PlacementMethod]] = field(default_factory=list)
    not_removed: int = 0
    rejected: list[RejectedFile] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def reject(self, files: Iterable[FoundFile], reason: str, detail: str) -> None:
        """Add files that are not installed."""
        self.rejected += [RejectedFile(file.file, reason, detail) for file in files]

    @property
    def outcome(self) -> Outcome:
        """The outcome as events report it."""
        state = State.COMPLETE if self.placed else State.ALREADY
        if self.failure is not None:
            state = State.LOCKED if self.failure.reason is FailureReason.LOCKED else State.FAILED
        return Outcome(self.series, state, self.receipt, self.failure)


@dataclass(frozen=True, slots=True)
class _Installer:
    """Installs patients, one by one; safe for threads. `install_volumes` explains the fields."""

    scanned: ScanResult
    tree: VolumeTree
    mode: Mode
    placer: FilePlacer
    emit: Emit
    stop: CancelToken

    def install(self, names: Sequence[VolumeName]) -> _Patient:
        """Install one patient's volumes.

        Raises:
            DestinationError: the tree cannot be written.
            TciaCovidError: the run is to end.
        """
        files = [self.scanned.top / file for name in names for file in self.scanned.volumes[name]]
        series = self.tree.series(names[0])
        series = replace(series, image_count=len(names), size=sum(map(file_size, files)))
        patient = _Patient(series)
        self.emit(SeriesStarted(series, 0, 0))
        chosen = [self._choose(name, patient) for name in names]
        try:
            with self.tree.hold(series) as receipt:
                volumes = dict(filter(None, chosen))
                patient.receipt = self._update(receipt, volumes, patient)
            self._remove_originals(patient)
            self._record_lost(patient)
        except (LockedError, SeriesError) as error:
            patient.failure = Failure.of(error, series.uid)
            if not isinstance(error, LockedError):
                self.tree.note_failure(patient.failure)
        self.emit(SeriesFinished(patient.outcome))
        return patient

    def _choose(self, name: VolumeName, patient: _Patient) -> tuple[FoundFile, Check] | None:
        """Read all files of one name, and choose one of them."""
        read = [self._read(file, name, patient) for file in self.scanned.volumes[name]]
        volumes = dict(filter(None, read))
        if len({volume.md5 for volume in volumes}) > 1:
            patient.reject(volumes, "conflict", "another file of that name differs")
        elif volumes:
            first, *duplicates = volumes
            patient.reject(duplicates, "duplicate", f"the same volume as {first.file}")
            patient.duplicates += duplicates
            return first, volumes[first]
        patient.lost.append(name.file)
        return None

    def _read(
        self, file: str, name: VolumeName, patient: _Patient
    ) -> tuple[FoundFile, Check] | None:
        """Read a file to its end; None if it is damaged, or not the one that is published."""

        def on_bytes(count: int) -> None:
            self.stop.check()
            self.emit(BytesStored(patient.series.uid, count))

        sums = self.scanned.sums
        try:
            algorithms = sums.algorithms(name.file)
            volume = read_volume(self.scanned.top / file, algorithms=algorithms, on_bytes=on_bytes)
        except ForeignImageError as error:
            reason, detail = "foreign", error.message
        except ChecksumError as error:
            reason, detail = "damaged", error.message
        except OSError as error:
            reason, detail = "unreadable", error.strerror or str(error)
        else:
            is_published = sums.agree(name.file, volume.digests)
            if is_published is not False:
                folder, size, modified = file.rpartition("/")[0], volume.size, volume.modified
                found = FoundFile(folder, name.file, name.stem, size, modified, volume.md5)
                return found, Check.MD5 if is_published else Check.SIZE
            reason, detail = "damaged", "its hash is not that of the .sums file"
        patient.rejected.append(RejectedFile(file, reason, detail))
        return None

    def _update(
        self, receipt: Receipt | None, volumes: dict[FoundFile, Check], patient: _Patient
    ) -> Receipt | None:
        """Install the volumes that are not in place yet; return the receipt of all that are."""
        installed = {image.file: image.md5 for image in receipt.images} if receipt else {}
        new = {}
        for volume, check in volumes.items():
            if volume.name not in installed:
                new[volume] = check
            elif installed[volume.name] == volume.md5:
                patient.already_complete.append(volume)
            else:
                patient.reject([volume], "conflict", "another version of it is installed")
        if new:
            return self._commit(new, patient)
        if receipt is not None:
            self.tree.clear_staging(patient.series)
        return receipt

    def _commit(self, new: dict[FoundFile, Check], patient: _Patient) -> Receipt:
        with self.tree.open_staging(patient.series, lambda count: None) as staging:
            self._check_complete(staging, {volume.name for volume in new})
            for volume, check in new.items():
                method = self.placer.place(volume, check, staging)
                if not method:
                    raise ChecksumError(f"{volume.name} changed since it was read")
                patient.placed.append((volume, check, method))
            staging.series = replace(
                patient.series, image_count=len(staging.images), size=staging.size
            )
            return self.tree.commit(staging)

    def _check_complete(self, staging: Staging, new: set[str]) -> None:
        """Leave a damaged patient unchanged until all of its volumes are available.

        Raises:
            IncompleteSeriesError: one that the receipt names is missing or damaged.
        """
        absent = [image for uid, image in staging.recorded.items() if uid not in staging.images]
        missing = tuple(sorted({image.file for image in absent} - new))
        stored = self.tree.receipts.read(staging.series.uid)
        if missing and stored is not None:
            self.tree.note_damage(stored.receipt, missing, "missing, or not as its receipt says")
            raise IncompleteSeriesError(
                f"patient {staging.series.patient}: {', '.join(missing)} was installed before and "
                "is missing or damaged now",
                hint="adopt or download it together with the others",
                missing=missing,
            )

    def _remove_originals(self, patient: _Patient) -> None:
        """Remove the originals of a move, now that their bytes are in the tree."""
        if self.mode not in ("move", "take") or patient.receipt is None:
            return
        originals = [volume for volume, _, method in patient.placed if method != "rename"]
        originals += patient.already_complete
        if self.mode == "move":
            self.tree.note_moved_from(self.scanned.top)
        else:
            originals += patient.duplicates
        folder = self.tree.path(patient.receipt)
        patient.not_removed = sum(
            not self.placer.remove(file, folder / f"{file.uid}{SUFFIX}") for file in originals
        )

    def _record_lost(self, patient: _Patient) -> None:
        """Record volumes that are not installed, although the patient's others are."""
        receipt = patient.receipt
        installed = {image.file for image in receipt.images} if receipt else set()
        patient.lost = [file for file in patient.lost if file not in installed]
        if patient.lost:
            files = ", ".join(patient.lost)
            detail = f"patient {patient.series.patient}: no intact file of {files} was found"
            self.tree.note_failure(
                Failure(patient.series.uid, FailureReason.DAMAGED, detail, tuple(patient.lost))
            )
