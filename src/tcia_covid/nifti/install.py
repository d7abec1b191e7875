"""One patient's volumes: read to their end, settled on, brought in."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import Literal

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ChecksumError,
    ForeignImageError,
    IncompleteSeriesError,
    LockedError,
    SeriesError,
)
from tcia_covid.core.events import BytesStored, Emit, SeriesFinished, SeriesStarted
from tcia_covid.core.models import Failure, Outcome, Receipt, Series, State
from tcia_covid.core.safe_names import is_in_hidden_folder
from tcia_covid.formats.nifti import Volume, read_volume
from tcia_covid.nifti.scan import RejectedFile, ScanResult, VolumeName
from tcia_covid.nifti.tree import Gathered, VolumeTree, stored
from tcia_covid.store.disk import Disk, succeeded
from tcia_covid.store.recovery import is_redundant_copy

Mode = Literal["link", "move", "copy", "take"]
PlacementMethod = Literal["link", "rename", "reflink", "copy", "existing"]
"""`kept`: the same bytes were there already."""
_PIECE = 256 * 1024


@dataclass(slots=True)
class InstalledPatient:
    """What became of one patient's volumes."""

    series: Series
    receipt: Receipt | None = None
    failure: Failure | None = None
    found: int = 0
    there: list[Volume] = field(default_factory=list)
    """Volumes that stood before, with these bytes."""
    doubles: list[Volume] = field(default_factory=list)
    """Further files of the same bytes."""
    brought: list[tuple[Volume, PlacementMethod]] = field(default_factory=list)
    proved: int = 0
    not_removed: int = 0
    unfit: list[RejectedFile] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Volumes that do not stand, and of which no file is sound or none is known to be right."""

    @property
    def outcome(self) -> Outcome:
        """The same in the words of a run."""
        state = State.COMPLETE if self.brought else State.ALREADY
        if self.failure is not None:
            state = State.LOCKED if self.failure.reason == "locked" else State.FAILED
        return Outcome(self.series, state, self.receipt, self.failure)


class Installer:
    """Takes patients in, one by one; safe for threads.

    Args:
        finds: what was found below a folder.
        tree: where it belongs.
        mode: how it gets there.
        source: what receipts call its origin.
        emit: hears of patients and bytes.
        stop: ends it early.
    """

    def __init__(
        self,
        finds: ScanResult,
        tree: VolumeTree,
        mode: Mode,
        source: str,
        emit: Emit,
        stop: CancelToken,
    ) -> None:
        self._finds = finds
        self._tree = tree
        self._mode = mode
        self._source = source
        self._emit = emit
        self._stop = stop

    def subjects(self) -> Iterator[list[VolumeName]]:
        """The volumes of each patient."""
        yield from self._finds.subjects().values()

    def take(self, names: Sequence[VolumeName]) -> InstalledPatient:
        """Take one patient's volumes in.

        Raises:
            DestinationError: the tree cannot be written.
            TciaCovidError: the run is to end.
        """
        size = sum(self._size(path) for name in names for path in self._finds.volumes[name])
        series = replace(self._tree.series(names[0]), image_count=len(names), size=size)
        taken = InstalledPatient(series, found=len(names))
        self._emit(SeriesStarted(series, 0, 0))
        arrivals = [one for name in names if (one := self._choose(name, taken)) is not None]
        try:
            with self._tree.hold(series) as receipt:
                taken.receipt = self._settle(receipt, arrivals, taken)
            self._remove_originals(taken)
            self._note_lost(taken)
        except LockedError as error:
            taken.failure = Failure(series.uid, "locked", error.message, hint=error.hint)
        except SeriesError as error:
            taken.failure = _failure(series, error)
            self._note(taken.failure)
        except FileNotFoundError:
            detail = f"patient {series.patient}: a file went away while it was taken in"
            taken.failure = Failure(series.uid, "changed", detail)
        self._emit(SeriesFinished(taken.outcome))
        return taken

    def _choose(self, name: VolumeName, taken: InstalledPatient) -> Volume | None:
        """Read all files of one name, and settle on one of them."""
        sound = [
            volume
            for path in self._finds.volumes[name]
            if (volume := self._read(path, name.file, taken)) is not None
        ]
        right = [
            one for one in sound if self._finds.sums.agree(name.file, one.digests) is not False
        ]
        for one in sound:
            if one not in right:
                self._refuse(one.path, "damaged", "its hash is not that of the .sums file", taken)
        if len({one.md5 for one in right}) > 1:
            for one in right:
                self._refuse(one.path, "conflict", "another file of that name differs", taken)
            right = []
        for one in right[1:]:
            of = f"the same volume as {self._finds.shown(right[0].path)}"
            self._refuse(one.path, "duplicate", of, taken)
            taken.doubles.append(one)
        if not right:
            taken.lost.append(name.file)
        return right[0] if right else None

    def _read(self, path: Path, file: str, taken: InstalledPatient) -> Volume | None:
        def tick(count: int) -> None:
            self._stop.check()
            self._emit(BytesStored(taken.series.uid, count))

        try:
            return read_volume(path, algorithms=self._finds.sums.algorithms(file), on_bytes=tick)
        except ForeignImageError as error:
            self._refuse(path, "foreign", error.message, taken)
        except ChecksumError as error:
            self._refuse(path, "damaged", error.message, taken)
        except OSError as error:
            self._refuse(path, "unreadable", error.strerror or str(error), taken)
        return None

    def _settle(
        self, receipt: Receipt | None, arrivals: Sequence[Volume], taken: InstalledPatient
    ) -> Receipt | None:
        """Bring in what does not stand yet; gives the receipt of what stands then."""
        here = {one.file: one for one in receipt.images} if receipt else {}
        fresh = []
        for volume in arrivals:
            known = here.get(volume.path.name)
            if known is None:
                fresh.append(volume)
            elif known.md5 == volume.md5:
                taken.there.append(volume)
            else:
                self._refuse(volume.path, "conflict", "another version of it stands", taken)
        return self._commit(fresh, taken) if fresh else receipt

    def _commit(self, fresh: Sequence[Volume], taken: InstalledPatient) -> Receipt:
        found = self._tree.gather(taken.series)
        self._check_whole(found, {one.path.name for one in fresh})
        for volume in fresh:
            self._bring(volume, found, taken)
        size = sum(image.size for image in found.images.values())
        found.series = replace(taken.series, image_count=len(found.images), size=size)
        return self._tree.publish(found)

    def _check_whole(self, found: Gathered, arriving: set[str]) -> None:
        """Leave a damaged patient alone as long as not all of his volumes can stand.

        Raises:
            IncompleteSeriesError: one that a receipt names is missing or damaged.
        """
        missing = tuple(sorted(found.recorded.keys() - found.images.keys() - arriving))
        filed = self._tree.receipts.read(found.series.uid)
        if missing and filed is not None:
            self._tree.note_damage(filed.receipt, missing, "missing, or not as its receipt says")
            raise IncompleteSeriesError(
                f"patient {found.series.patient}: {', '.join(missing)} was there before and is "
                "missing or damaged now",
                hint="adopt, or download, it together with the others",
                missing=missing,
            )

    def _bring(self, volume: Volume, found: Gathered, taken: InstalledPatient) -> None:
        """Put a volume into staging, unless the very same one stands or waits there already."""
        proved = bool(self._finds.sums.agree(volume.path.name, volume.digests))
        image = stored(volume, source=self._source, proved=proved)
        here = found.images.get(image.file)
        way: PlacementMethod = "existing"
        if here is None or here.md5 != image.md5:
            target, disk = found.staging / image.file, self._tree.disk
            disk.remove(target)
            way = place_volume(volume, target, self._mode, disk, lambda count: self._stop.check())
            found.staged[image.file] = image
        elif image.file in found.staged:
            found.staged[image.file] = image
        else:
            found.committed[image.file] = image
        taken.brought.append((volume, way))
        taken.proved += proved

    def _remove_originals(self, taken: InstalledPatient) -> None:
        """Remove what was to be moved, now that the patient stands and others have the bytes."""
        if self._mode not in ("move", "take") or taken.receipt is None:
            return
        if self._mode == "move":
            self._tree.note_moved_from(self._finds.top)
        folder = self._tree.path(taken.receipt)
        rest = [volume for volume, way in taken.brought if way != "rename"] + taken.there
        for volume in rest + (taken.doubles if self._mode == "take" else []):
            try:
                taken.not_removed += not self._removed(volume, folder / volume.path.name)
            except OSError:
                taken.not_removed += 1

    def _removed(self, volume: Volume, inventory: Path) -> bool:
        """Remove a file whose bytes stand in the layout; False if they do not, or it changed.

        What is in a hidden folder of somebody else's stays, too.
        """
        if self._mode == "move" and is_in_hidden_folder(volume.path.relative_to(self._finds.top)):
            return False
        if not (
            volume.is_unchanged
            and is_redundant_copy(volume.path, inventory, volume.size, volume.md5)
        ):
            return False
        self._tree.disk.remove(volume.path)
        return True

    def _note_lost(self, taken: InstalledPatient) -> None:
        """Leave word of volumes that do not stand, although the patient's others do."""
        stands = {one.file for one in taken.receipt.images} if taken.receipt else set()
        taken.lost = [file for file in taken.lost if file not in stands]
        if taken.lost:
            uid, patient = taken.series.uid, taken.series.patient
            stem = ", ".join(taken.lost)
            detail = f"patient {patient}: no sound file of {stem} was found"
            self._note(Failure(uid, "damaged", detail, tuple(taken.lost)))

    @staticmethod
    def _size(path: Path) -> int:
        try:
            return path.stat().st_size
        except OSError:
            return 0

    def _note(self, failure: Failure) -> None:
        """Leave word for `status`."""
        try:
            self._tree.failures.write(failure.series, [asdict(failure)])
        except OSError:
            return  # the result has it

    def _refuse(self, path: Path, reason: str, detail: str, taken: InstalledPatient) -> None:
        taken.unfit.append(RejectedFile(self._finds.shown(path), reason, detail))


def _failure(series: Series, error: SeriesError) -> Failure:
    return Failure(series.uid, error.reason, error.message, error.missing, error.hint)


def place_volume(
    volume: Volume, target: Path, mode: Mode, disk: Disk, tick: Callable[[int], None]
) -> PlacementMethod:
    """Have the bytes of a volume stand at `target`, as they were when it was read.

    Args:
        volume: as it was read.
        target: a name that is free.
        mode: `link` and `move` make a hard link where that is possible, else share blocks, else
            copy; `copy` makes no hard link; `take` has a rename as its second choice, for files
            that can be had again. The caller removes the original.
        disk: the seam to the file system.
        tick: hears of bytes copied; what it raises ends the copying.

    Raises:
        ChecksumError: it changed since it was read.
        OSError: the disk.
    """
    if not volume.is_unchanged:
        raise _changed(volume)
    # A name of a file that may not be written cannot be forced to the disk on commit.
    writable = os.access(volume.path, os.W_OK)
    if mode != "copy" and writable and succeeded(lambda: disk.link(volume.path, target)):
        return "link"
    if mode == "take" and writable and succeeded(lambda: disk.replace(volume.path, target)):
        return "rename"
    if succeeded(lambda: disk.reflink(volume.path, target)):
        return "reflink"
    _copy(volume, target, disk, tick)
    return "copy"


def _changed(volume: Volume) -> ChecksumError:
    return ChecksumError(f"{volume.path.name} changed since it was read")


def _copy(volume: Volume, target: Path, disk: Disk, tick: Callable[[int], None]) -> None:
    md5 = hashlib.md5(usedforsecurity=False)
    part = target.with_name(f".{target.name}.part")
    disk.remove(part)
    with FileIO(volume.path) as old, disk.create(part) as new:
        while piece := old.read(_PIECE):
            disk.write(new, piece)
            md5.update(piece)
            tick(len(piece))
    if md5.hexdigest() != volume.md5:
        disk.remove(part)
        raise _changed(volume)
    disk.replace(part, target)
