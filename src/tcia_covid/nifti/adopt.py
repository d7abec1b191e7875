"""Adopting volumes: read each to its end, choose one of each name, commit patient by patient."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    EXIT_OK,
    EXIT_PARTIAL,
    ChecksumError,
    DestinationError,
    ForeignImageError,
    IncompleteSeriesError,
    LockedError,
    RequestError,
    SeriesError,
    TciaCovidError,
    UsageError,
)
from tcia_covid.core.events import BytesStored, Emit, Notice, SeriesFinished, SeriesStarted, discard
from tcia_covid.core.models import ADOPTED, Check, Failure, Outcome, Receipt, Series, State
from tcia_covid.core.parallel import parallel_map
from tcia_covid.formats.nifti import Volume, read_volume
from tcia_covid.nifti.scan import SUFFIX, RejectedFile, ScanResult, VolumeName, find_volumes
from tcia_covid.nifti.tree import Inventory, VolumeTree, compare_installed
from tcia_covid.store.disk import Disk
from tcia_covid.store.placement import FilePlacer, Mode, PlacementMethod
from tcia_covid.store.reports import outdated_notice, update_reports
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import is_in_tree

_LEFT = frozenset({"conflict", "damaged", "unreadable", "unfinished"})
"""Reasons for rejecting a file that may be a volume of the collection."""


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
    """Install the intact volumes of any folder.

    Args:
        directory: the folder; how the files are arranged in it does not matter.
        output: the folder that holds the collections' folders.
        collection: whose volumes these are.
        registry: for TCIA's own citation.
        mode: `link` makes hard links, else reflinks, else copies; `copy` makes no hard links;
            `move` removes a patient's files once the patient is complete.
        durable: force data to the disk before a patient counts as complete.
        jobs: threads.
        emit: receives the progress of patients and bytes.
        stop: ends it early; what was committed stays.

    Raises:
        RequestError: the folder does not exist, has no volume of the collection, or is one of
            this program's own.
        DestinationError: the output cannot be used.
        InterruptedRunError: `stop` was set.
    """
    tree = VolumeTree(output, collection, Disk(durable=durable), emit)
    _refuse_own(directory, tree)
    scanned = find_volumes(directory, tree.pattern, skipped=tree.root)
    if not scanned.volumes and not tree.has_moved_from(directory):
        raise RequestError(
            f"there is no volume of {collection.name} in {directory}",
            hint=f"they are called {tree.pattern.text}",
        )
    if mode == "move":
        _refuse_emptying(directory, scanned)
    stop = stop or CancelToken()

    def report() -> None:
        if not update_reports(tree, collection, registry, stop, tree.notify):
            emit(Notice(outdated_notice(tree)))

    tree.prepare()
    try:
        result = install_volumes(scanned, tree, mode=mode, jobs=jobs, emit=emit, stop=stop)
    except DestinationError:
        raise
    except TciaCovidError:
        with contextlib.suppress(DestinationError):
            report()
        raise
    report()
    result.inventory = Inventory.of(tree)
    result.notices += tree.notices
    return result


def _refuse_own(directory: Path, tree: VolumeTree) -> None:
    root = Path(os.path.realpath(tree.root))
    if Path(os.path.realpath(directory)).is_relative_to(root):
        raise RequestError(
            f"{directory} is this program's own folder of {tree.collection.name}",
            hint="'verify' checks it, 'download' completes it",
        )


def _refuse_emptying(directory: Path, scanned: ScanResult) -> None:
    """Refuse to move files out of a folder of this program."""
    if scanned.has_tree or is_in_tree(directory.resolve()):
        raise UsageError(
            f"{directory} has a folder that this program keeps receipts of: moving its files away "
            "would leave these without files",
            hint="use --link or --copy",
        )


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
    beside it. Installed volumes are compared with these hashes, too. No file is changed, except
    that `move` removes a patient's files once the patient is complete.

    Args:
        scanned: the files, and the published hashes.
        tree: where they belong; has been prepared.
        mode: how they are placed.
        source: recorded as the source of the volumes.
        jobs: threads; by default as many as there are processors, four at most.
        emit: receives patients as they are read and finished.
        stop: ends it early; what was committed stays.

    Raises:
        DestinationError: the tree cannot be written.
        TciaCovidError: `stop` was set.
    """
    stop = stop or CancelToken()
    installer = _Installer(scanned, tree, mode, source, emit, stop)
    result = VolumeAdoption(rejected=list(scanned.rejected))
    differing = compare_installed(scanned.sums, tree)
    threads = jobs or min(4, os.cpu_count() or 1)
    patients = scanned.subjects().values()
    for _, patient in parallel_map(installer.install, patients, threads, stop):
        _count(result, patient)
    absent = scanned.sums.files - tree.intact_files()
    result.mismatched = sorted(absent & differing)
    result.missing = sorted(absent - differing)
    return result


def _count(result: VolumeAdoption, patient: _InstalledPatient) -> None:
    result.patients_found += 1
    result.volumes_found += patient.found
    result.volumes_already_complete += len(patient.already_complete)
    result.rejected += patient.rejected
    result.not_removed += patient.not_removed
    result.lost += patient.lost
    if patient.failure is not None:
        result.failures.append(patient.failure)
        return
    result.patients_adopted += bool(patient.placed)
    result.patients_already_complete += bool(patient.already_complete) and not patient.placed
    result.volumes_adopted += len(patient.placed)
    result.size += sum(volume.size for volume, _ in patient.placed)
    result.placed.update(method for _, method in patient.placed)
    result.verified += patient.verified


class _HashedVolume(NamedTuple):
    """A volume as `FilePlacer` needs it."""

    file: str
    uid: str
    size: int
    modified: int
    md5: str


@dataclass(slots=True)
class _InstalledPatient:
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


@dataclass(frozen=True, slots=True)
class _Installer:
    """Installs patients, one by one; safe for threads. `install_volumes` explains the fields."""

    scanned: ScanResult
    tree: VolumeTree
    mode: Mode
    source: str
    emit: Emit
    stop: CancelToken

    def install(self, names: Sequence[VolumeName]) -> _InstalledPatient:
        """Install one patient's volumes.

        Raises:
            DestinationError: the tree cannot be written.
            TciaCovidError: the run is to end.
        """
        size = sum(_size(path) for name in names for path in self.scanned.volumes[name])
        series = replace(self.tree.series(names[0]), image_count=len(names), size=size)
        patient = _InstalledPatient(series, found=len(names))
        self.emit(SeriesStarted(series, 0, 0))
        chosen = [self._choose(name, patient) for name in names]
        try:
            with self.tree.hold(series) as receipt:
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
        self.emit(SeriesFinished(patient.outcome))
        return patient

    def _choose(self, name: VolumeName, patient: _InstalledPatient) -> Volume | None:
        """Read all files of one name, and choose one of them."""
        read = [self._read(path, name.file, patient) for path in self.scanned.volumes[name]]
        right = []
        for volume in filter(None, read):
            if self.scanned.sums.agree(name.file, volume.digests) is False:
                detail = "its hash is not that of the .sums file"
                patient.reject(self.scanned.shown(volume.path), "damaged", detail)
            else:
                right.append(volume)
        if len({volume.md5 for volume in right}) > 1:
            for volume in right:
                detail = "another file of that name differs"
                patient.reject(self.scanned.shown(volume.path), "conflict", detail)
            right = []
        for volume in right[1:]:
            detail = f"the same volume as {self.scanned.shown(right[0].path)}"
            patient.reject(self.scanned.shown(volume.path), "duplicate", detail)
            patient.duplicates.append(volume)
        if not right:
            patient.lost.append(name.file)
        return right[0] if right else None

    def _read(self, path: Path, file: str, patient: _InstalledPatient) -> Volume | None:
        def on_bytes(count: int) -> None:
            self.stop.check()
            self.emit(BytesStored(patient.series.uid, count))

        try:
            algorithms = self.scanned.sums.algorithms(file)
            return read_volume(path, algorithms=algorithms, on_bytes=on_bytes)
        except ForeignImageError as error:
            reason, detail = "foreign", error.message
        except ChecksumError as error:
            reason, detail = "damaged", error.message
        except OSError as error:
            reason, detail = "unreadable", error.strerror or str(error)
        patient.reject(self.scanned.shown(path), reason, detail)
        return None

    def _update(
        self, receipt: Receipt | None, volumes: Sequence[Volume], patient: _InstalledPatient
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
                patient.reject(self.scanned.shown(volume.path), "conflict", detail)
        if new:
            return self._commit(new, patient)
        if receipt is not None:
            self.tree.clear_staging(patient.series)
        return receipt

    def _commit(self, new: Sequence[Volume], patient: _InstalledPatient) -> Receipt:
        placer = self._placer()
        with self.tree.open_staging(patient.series, lambda count: None) as staging:
            self._check_complete(staging, {volume.path.name for volume in new})
            for volume in new:
                verified = bool(self.scanned.sums.agree(volume.path.name, volume.digests))
                check = Check.MD5 if verified else Check.SIZE
                method = placer.bring(self._hashed(volume), check, staging)
                if not method:
                    raise ChecksumError(f"{volume.path.name} changed since it was read")
                patient.placed.append((volume, method))
                patient.verified += verified
            staging.series = replace(
                patient.series, image_count=len(staging.images), size=staging.size
            )
            return self.tree.commit(staging)

    def _check_complete(self, staging: Staging, new: set[str]) -> None:
        """Leave a damaged patient unchanged until all of its volumes are available.

        Raises:
            IncompleteSeriesError: one that the receipt names is missing or damaged.
        """
        absent = [image for uid, image in staging.known.items() if uid not in staging.images]
        missing = tuple(sorted({image.file for image in absent} - new))
        stored = self.tree.receipts.read(staging.series.uid)
        if missing and stored is not None:
            self.tree.note_damage(stored.receipt, missing, "missing, or not as its receipt says")
            raise IncompleteSeriesError(
                f"patient {staging.series.patient}: {', '.join(missing)} was installed before and "
                "is missing or damaged now",
                hint="adopt, or download, it together with the others",
                missing=missing,
            )

    def _remove_originals(self, patient: _InstalledPatient) -> None:
        """Remove the originals of a move, now that their bytes are in the tree."""
        if self.mode not in ("move", "take") or patient.receipt is None:
            return
        if self.mode == "move":
            self.tree.note_moved_from(self.scanned.top)
        folder, placer = self.tree.path(patient.receipt), self._placer()
        originals = [volume for volume, method in patient.placed if method != "rename"]
        originals += patient.already_complete
        if self.mode == "take":
            originals += patient.duplicates
        for volume in originals:
            patient.not_removed += not placer.remove(self._hashed(volume), folder)

    def _placer(self) -> FilePlacer:
        return FilePlacer(
            self.scanned.top,
            self.mode,
            self.tree.disk,
            source=self.source,
            suffix=SUFFIX,
            on_bytes=lambda count: self.stop.check(),
        )

    def _hashed(self, volume: Volume) -> _HashedVolume:
        uid = volume.path.name.removesuffix(SUFFIX)
        file = self.scanned.shown(volume.path)
        return _HashedVolume(file, uid, volume.size, volume.modified, volume.md5)

    def _record_lost(self, patient: _InstalledPatient) -> None:
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
            self.tree.failures.write(failure.series, [asdict(failure)])
        except OSError:
            return  # the result has it


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
