"""The folder of a collection of volumes: a patient takes the place that a series has elsewhere."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tcia_covid.catalog.collections import Collection
from tcia_covid.core.errors import (
    ChecksumError,
    ForeignImageError,
    IncompleteSeriesError,
    LockedError,
)
from tcia_covid.core.events import Emit, Notice
from tcia_covid.core.events import discard as discard_event
from tcia_covid.core.models import ADOPTED, Check, Receipt, Series, StoredImage
from tcia_covid.core.version import __version__
from tcia_covid.formats.hashes import hash_file
from tcia_covid.formats.nifti import Volume, read_volume
from tcia_covid.nifti.scan import SUFFIX, Checksums, VolumeName, VolumePattern
from tcia_covid.store.disk import Disk, destination_errors, move_aside, moved_aside
from tcia_covid.store.layout import Layout
from tcia_covid.store.locks import Lock
from tcia_covid.store.receipts import StoredReceipt
from tcia_covid.store.tree import Tree, collection_folder

_LAYOUT = Layout("{patient}")
_TEMPORARY = re.compile(r"\..+\.part")
"""This program's own names for files on their way into staging."""
_ORIGINS = ".origins"
"""A file beside staged images of earlier versions."""


@dataclass(slots=True)
class Gathered:
    """All that is sound of a patient."""

    series: Series
    folder: str
    """Of the patient, relative to the collection's folder."""
    staging: Path
    """Takes what is brought."""
    recorded: dict[str, StoredImage]
    """What the receipt names, by file."""
    committed: dict[str, StoredImage] = field(default_factory=dict)
    """Volumes in the patient's folder, by file."""
    staged: dict[str, StoredImage] = field(default_factory=dict)
    """Volumes in `staging`, by file."""

    @property
    def images(self) -> dict[str, StoredImage]:
        """All volumes, by file."""
        return {**self.committed, **self.staged}


class VolumeTree(Tree):
    """One collection's folder: `<patient>/<volume>.nii.gz`, a receipt for each patient.

    A patient's folder is never moved: volumes come beside what is in it, and files of other
    people stay where they are.

    Args:
        output: the folder that holds the collections' folders.
        collection: whose volumes these are.
        disk: the seam to the file system.
        emit: hears of files that were moved aside.
    """

    def __init__(
        self,
        output: Path,
        collection: Collection,
        disk: Disk | None = None,
        emit: Emit = discard_event,
    ) -> None:
        super().__init__(output / collection_folder(collection.name), _LAYOUT, disk)
        self._emit = emit
        self.collection = collection
        place = collection.aspera
        self.pattern = VolumePattern(place.file_pattern if place else None)

    def series(self, name: VolumeName) -> Series:
        """The patient of a volume, in the words of the receipts."""
        one = self.collection
        return Series(
            uid=name.subject,
            collection=one.name,
            patient=name.patient,
            study="",
            modality=one.modalities[0] if len(one.modalities) == 1 else None,
            license=one.license.name if one.license else None,
            license_url=one.license.url if one.license else None,
            data_url=f"https://doi.org/{one.doi}" if one.doi else None,
        )

    def sound(self) -> dict[str, Receipt]:
        """The receipts of all patients that stand whole, by subject; no volume is opened."""
        under_way = self.under_way()
        return {
            one.series.uid: one
            for one in self.receipts.all()
            if one.series.uid not in under_way and not self.lacking(one)
        }

    def standing_files(self) -> set[str]:
        """The names of the volumes that stand as their receipts say, as far as names tell."""
        files: set[str] = set()
        for receipt in self.receipts.all():
            files |= {image.file for image in receipt.images} - self.lacking(receipt)
        return files

    def lacking(self, receipt: Receipt) -> set[str]:
        """The files of a patient that are not there, or that `verify` found damaged."""
        noted = self.damage.read(receipt.series.uid)
        damaged = {str(line.get("file", "")).rpartition("/")[2] for line in noted}
        folder = self.path(receipt)
        return {one.file for one in receipt.images if not (folder / one.file).is_file()} | (
            damaged & {one.file for one in receipt.images}
        )

    @contextmanager
    def hold(self, series: Series) -> Iterator[Receipt | None]:
        """Hold a patient's lock; gives the receipt where the patient stands whole.

        What earlier runs left of a patient that stands is removed.

        Raises:
            HeldError: another run works on the patient.
            DestinationError: the disk.
        """
        lock = Lock(self._locks / f"{series.uid}.lock", f"patient {series.patient}")
        with destination_errors(str(self.root)), lock:
            try:
                receipt = self._recover(series.uid)
                if receipt is not None:
                    stands = {one.file: one for one in receipt.images}
                    for file in self._reclaim(series.uid, self.path(receipt)):
                        self._drop(file, stands.get(file.name))
                yield receipt
            finally:
                self._leave(series.uid)

    def gather(self, series: Series) -> Gathered:
        """Find all that is sound of a patient: in the layout, where it stays, and in staging.

        To be called under `hold`.
        """
        filed = self.receipts.read(series.uid)
        recorded = {one.file: one for one in filed.receipt.images} if filed else {}
        folder = filed.receipt.folder if filed else self._folder(series)
        found = Gathered(series, folder, self.staging / series.uid / self._run, recorded)
        home = self.root / folder
        for file in sorted(home.iterdir()) if home.is_dir() else ():
            if image := self._sound(file, recorded.get(file.name), series.uid):
                found.committed[image.file] = image
        left = list(self._reclaim(series.uid, home))
        self.disk.make_folder(found.staging)
        for file in left:
            image = self._sound(file, recorded.get(file.name), series.uid)
            if image is None or file.is_symlink() or image.file in found.images:
                self._drop(file, found.images.get(file.name))
            else:
                self.disk.replace(file, found.staging / image.file)
                found.staged[image.file] = image
        for place in {file.parent for file in left}:
            self.disk.remove_empty(place)
        return found

    def publish(self, found: Gathered) -> Receipt:
        """Put a patient's staged volumes beside those that stand: sync, receipt, renames.

        Raises:
            FileNotFoundError: another run took the staging folder.
            IncompleteSeriesError: a volume is not what it was when it was read.
            OSError: the disk.
        """
        self._check_staged(found)
        for file in found.staged:
            self.disk.sync_file(found.staging / file)
        for file in found.committed.keys() - found.recorded.keys():
            self.disk.sync_file(self.root / found.folder / file)
        self.disk.sync_folder(found.staging)
        receipt = Receipt(
            series=found.series,
            folder=found.folder,
            images=tuple(image for _, image in sorted(found.images.items())),
            finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            program=f"tcia-covid {__version__}",
        )
        with self._owing_reports():
            self.receipts.write(StoredReceipt(receipt, found.staging.name))
            self._move_in(found.staging, receipt, found.recorded)
        self._clear_notes(found.series.uid)
        return receipt

    def note_damage(self, receipt: Receipt, files: Iterable[str], detail: str) -> None:
        """Note volumes that are to be replaced by the next run that has sound ones."""
        lines = [
            {"file": f"{receipt.folder}/{file}", "reason": "changed", "detail": detail}
            for file in sorted(files)
        ]
        self.damage.write(receipt.series.uid, lines)

    def keep_bad(self, file: Path, purpose: str) -> None:
        """Move a file that this program wrote, and that is not right, into quarantine.

        Args:
            file: the file.
            purpose: the folder in quarantine.
        """
        folder = self.quarantine / purpose
        self.disk.make_folder(folder)
        self.disk.replace(file, folder / f"{file.name}.bad")

    def _recover(self, uid: str) -> Receipt | None:
        """Finish a commit that was cut short; give the receipt if the patient stands."""
        filed = self.receipts.read(uid)
        if filed is None:
            return None
        if self._is_unfinished(filed):
            self._move_in(self.staging / uid / filed.staged, filed.receipt, {})
            self._clear_notes(uid)
        return None if self.lacking(filed.receipt) else filed.receipt

    def _is_unfinished(self, filed: StoredReceipt) -> bool:
        """Whether a commit was cut short, and everything for its end is there."""
        staged, home = self.staging / filed.receipt.series.uid / filed.staged, filed.receipt.folder
        return (
            bool(filed.staged)
            and staged.is_dir()
            and all(
                one.size in (_size(staged / one.file), _size(self.root / home / one.file))
                for one in filed.receipt.images
            )
        )

    def _move_in(self, staged: Path, receipt: Receipt, recorded: Mapping[str, StoredImage]) -> None:
        """Move a patient's staged volumes into the layout, beside whatever else is there.

        Args:
            staged: their folder, which has nothing else in it.
            receipt: on file already.
            recorded: what the receipt before it named, by file.
        """
        home = self.path(receipt)
        self.disk.make_lasting_folder(home.parent)
        if os.path.lexists(home) and not home.is_dir():
            self._move_aside(home)
        if not home.exists():
            self.disk.rename(staged, home)
            self.disk.sync_folder(home.parent)
            return
        for image in receipt.images:
            source = staged / image.file
            if not source.exists():
                continue
            if self._make_way(home / image.file, image, recorded.get(image.file)):
                self.disk.replace(source, home / image.file)
            else:
                self.disk.remove(source)
        self.disk.sync_folder(home)
        self.disk.remove_empty(staged)

    def _make_way(self, place: Path, image: StoredImage, recorded: StoredImage | None) -> bool:
        """Free the place of a volume; False if the volume itself is there.

        Only what a receipt accounts for is replaced: bytes that it names, or a symbolic link in
        their place, never the link's target. Anything else is moved aside in sight.
        """
        if not os.path.lexists(place):
            return True
        if _has(place, image):
            return False
        if recorded is not None and place.is_symlink():
            return True
        if recorded is not None and _has(place, recorded):
            self.keep_bad(place, place.parent.name)
        else:
            self._move_aside(place)
        return True

    def _move_aside(self, path: Path) -> None:
        self.tell(moved_aside(path, move_aside(self.disk, path)))

    def tell(self, text: str) -> None:
        """Tell of a file that was moved."""
        self.notices.append(text)
        self._emit(Notice(text, always=True))

    def _reclaim(self, uid: str, home: Path) -> Iterator[Path]:
        """Take over what earlier runs left in staging: gives the volumes, one by one.

        Earlier versions took whole folders there, users' files with them: these go back.
        """
        staging, replaced = self.staging / uid, self.state / "replaced"
        places = sorted([*staging.glob("*"), *replaced.glob(f"{uid}~*")])
        if places:
            self.disk.make_folder(staging)
        for place in places:
            # One rename takes a folder over whole: a run that is alive after all finds it gone.
            mine = self._taken(uid)
            with contextlib.suppress(FileNotFoundError):
                self.disk.rename(place, mine)
            if mine.is_file() or mine.is_symlink():
                self.disk.remove(mine)  # of the operating system: runs make folders alone
                continue
            for file in sorted(mine.iterdir()) if mine.is_dir() else ():
                name = self.pattern.read(file.name)
                if name is not None and name.subject == uid and not file.is_dir():
                    yield file
                elif file.name == _ORIGINS or _TEMPORARY.fullmatch(file.name):
                    self.disk.remove(file)
                else:
                    self._give_back(file, home)
            self.disk.remove_empty(mine)

    def _drop(self, file: Path, stands: StoredImage | None) -> None:
        """Get rid of a staged volume: one of other bytes than those that stand is kept aside."""
        if stands is not None and _has(file, stands):
            self.disk.remove(file)
        else:
            self.keep_bad(file, "staging")

    def _give_back(self, file: Path, home: Path) -> None:
        self.disk.make_folder(home)
        target = home / file.name
        if os.path.lexists(target):
            target = move_aside(self.disk, file, home)
        else:
            self.disk.rename(file, target)
        self.tell(f"{file.name}, which an earlier run took along, is back: it is now {target}")

    def _check_staged(self, found: Gathered) -> None:
        """See that staging has the volumes as they were read, and nothing else.

        Raises:
            FileNotFoundError: another run took one.
            IncompleteSeriesError: one was changed.
        """
        for file in found.staging.iterdir():
            if file.name not in found.staged:
                self.keep_bad(file, "staging")
        for image in found.staged.values():
            if (found.staging / image.file).stat().st_size != image.size:
                raise IncompleteSeriesError(
                    f"volume {image.file} changed on disk while its patient was taken in",
                    hint="run the same command again; if it stays, check the disk",
                    missing=(image.file,),
                )

    def _sound(self, file: Path, recorded: StoredImage | None, uid: str) -> StoredImage | None:
        """What a file is that stands, or that a run left; None if it is not what it should be."""
        name = self.pattern.read(file.name)
        if name is None or name.subject != uid or not file.is_file():
            return None
        try:
            volume = read_volume(file)
        except (ForeignImageError, ChecksumError, OSError):
            return None
        if recorded is None:
            return stored(volume, source=ADOPTED)
        return recorded if recorded.md5 == volume.md5 else None

    def _folder(self, series: Series) -> str:
        """Where a patient without a receipt belongs: where volumes of his are, else a free name."""
        plain = str(_LAYOUT.folder(series))
        whole = str(_LAYOUT.folders(series)[1])
        for folder in (plain, whole):
            if series.uid in self._subjects(folder):
                return folder
        return whole if self._subjects(plain) else plain

    def _subjects(self, folder: str) -> set[str]:
        """Whose volumes a folder has, by their names."""
        named = (self.pattern.read(file.name) for file in (self.root / folder).glob(f"*{SUFFIX}"))
        return {name.subject for name in named if name is not None}


def _has(path: Path, image: StoredImage) -> bool:
    """Whether a file has the bytes of a volume."""
    try:
        return path.is_file() and hash_file(path, "md5") == (image.size, image.md5)
    except OSError:
        return False


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def stored(volume: Volume, *, source: str, proved: bool = False) -> StoredImage:
    """A volume as receipts have it.

    Args:
        volume: as it was read.
        source: where it came from.
        proved: whether its hash is one that was published.
    """
    return StoredImage(
        uid=volume.path.name.removesuffix(SUFFIX),
        size=volume.size,
        md5=volume.md5,
        check=Check.MD5 if proved else Check.SIZE,
        source=source,
        suffix=SUFFIX,
    )


def compare_installed(sums: Checksums, tree: VolumeTree) -> set[str]:
    """Note which volumes that stand are proved by a published hash, and which are refuted.

    Receipts tell their MD5s; no volume is opened. A patient that another run holds is left out.

    Args:
        sums: what is published.
        tree: what stands.

    Returns:
        the files that are refuted: noted as damaged, so that the next download replaces them.

    Raises:
        DestinationError: the disk.
    """
    refuted: set[str] = set()
    for receipt in list(tree.sound().values()) if len(sums) else ():
        if not sums.files.isdisjoint(image.file for image in receipt.images):
            refuted |= _compare(receipt, sums, tree)
    return refuted


def _compare(receipt: Receipt, sums: Checksums, tree: VolumeTree) -> set[str]:
    agreed = {one.file: sums.agree(one.file, {"md5": one.md5}) for one in receipt.images}
    refuted = {file for file, fits in agreed.items() if fits is False}
    images = tuple(
        replace(one, check=Check.MD5) if agreed[one.file] else one for one in receipt.images
    )
    try:
        with tree.hold(receipt.series) as now:
            if now != receipt:
                return set()
            if refuted:
                tree.note_damage(receipt, refuted, "its hash is not the one of a .sums file")
            if images != receipt.images:
                tree.receipts.write(StoredReceipt(replace(receipt, images=images), ""))
    except LockedError:
        return set()
    return refuted
