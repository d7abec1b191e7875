"""The folder of a collection of volumes: a patient takes the place that a series has elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tcia_covid.errors import ChecksumError, ForeignImageError
from tcia_covid.model import ADOPTED, Check, Receipt, Series, StoredImage
from tcia_covid.nifti.names import SUFFIX, VolumeName, VolumePattern
from tcia_covid.registry import Collection
from tcia_covid.store import Disk, Layout, Staging, Tree
from tcia_covid.store.disk import explained
from tcia_covid.store.locks import Lock
from tcia_covid.store.quarantine import set_aside
from tcia_covid.store.tree import collection_folder
from tcia_covid.volumes.volume import Volume, read_volume

_LAYOUT = Layout("{patient}")


class VolumeTree(Tree):
    """One collection's folder: `<patient>/<volume>.nii.gz`, a receipt for each patient.

    Args:
        output: the folder that holds the collections' folders.
        collection: whose volumes these are.
        disk: the seam to the file system.
    """

    def __init__(self, output: Path, collection: Collection, disk: Disk | None = None) -> None:
        super().__init__(output / collection_folder(collection.name), _LAYOUT, disk)
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
            licence=one.licence.name if one.licence else None,
            licence_url=one.licence.url if one.licence else None,
            data_url=f"https://doi.org/{one.doi}" if one.doi else None,
        )

    def sound(self) -> dict[str, Receipt]:
        """The receipts of all patients that stand whole, by subject; no volume is opened."""
        found = ((uid, self.standing(uid)) for uid in self.receipts.uids())
        unsettled = self.unsettled()
        return {uid: one for uid, one in found if one is not None and uid not in unsettled}

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
        with explained(str(self.root)), lock:
            try:
                receipt = self._recover(series.uid)
                if receipt is not None:
                    with contextlib.suppress(FileNotFoundError):
                        self._clear_staging(series.uid)
                yield receipt
            finally:
                self._leave(series.uid)

    def gather(self, series: Series) -> Staging:
        """Make a staging folder of all that is sound of a patient, wherever a run left it.

        What differs from its receipt goes to quarantine. To be called under `hold`.
        """
        folder = self.staging / series.uid / self._run
        others, receipt = self._leftovers(series, folder, update=False)
        staging = Staging(series, folder, self.disk, lambda count: None)
        known = {one.file: one for one in receipt.images} if receipt else {}
        for place in others:
            for file in sorted(place.iterdir()):
                self._take_over(staging, file, known)
            self.disk.remove_folder(place)
        return staging

    def _take_over(self, staging: Staging, file: Path, known: dict[str, StoredImage]) -> None:
        image = self._sound_image(file, known.get(file.name))
        if image is None or image.uid in staging.images:
            self._drop(file, self.quarantine / staging.series.uid, known=bool(known))
            return
        self.disk.replace(file, staging.folder / image.file)
        staging.adopt(image)

    def _drop(self, file: Path, quarantine: Path, *, known: bool) -> None:
        """Set aside what stood in the tree; what a dead run left half-way is just removed."""
        if known:
            with contextlib.suppress(FileNotFoundError):
                set_aside(self.disk, file, quarantine)
        else:
            self.disk.remove(file)

    def _sound_image(self, file: Path, known: StoredImage | None) -> StoredImage | None:
        """What a file is that a run left; None if it is not what it should be."""
        if file.is_symlink() or not file.is_file() or self.pattern.read(file.name) is None:
            return None
        try:
            volume = read_volume(file)
        except (ForeignImageError, ChecksumError, OSError):
            return None
        if known is None:
            return stored(volume, source=ADOPTED)
        return known if known.md5 == volume.md5 else None

    def _holds(self, folder: Path, series: Series) -> bool:
        named = (self.pattern.read(file.name) for file in folder.glob(f"*{SUFFIX}"))
        return any(one is not None and one.subject == series.uid for one in named)


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
