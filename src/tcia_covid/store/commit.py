"""Moving a complete series from staging into the tree."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from tcia_covid.core.errors import IncompleteSeriesError, PathTooLongError, TakenOverError
from tcia_covid.core.files import is_foreign_link
from tcia_covid.core.models import ImageAttributes, Receipt, Series, StoredImage, shared_headers
from tcia_covid.core.safe_names import is_system_file
from tcia_covid.core.version import PROGRAM, utc_now
from tcia_covid.formats.hashes import has_content
from tcia_covid.store.disk import Disk, files_in
from tcia_covid.store.layout import Layout
from tcia_covid.store.quarantine import move_aside, set_aside
from tcia_covid.store.receipts import MovedFrom, Receipts, StoredReceipt
from tcia_covid.store.recovery import DicomImages
from tcia_covid.store.staging import Staging, is_temporary, staged_name

_WHOLE = "~whole"
"""Suffix of a staging folder that was a series' folder, whose images get other names."""


class _FolderTakenError(IncompleteSeriesError):
    """All folders that a series may have belong to other series."""


@dataclass(frozen=True, slots=True)
class Committer:
    """Moves series from staging into the tree.

    A series whose folder does not exist yet reaches the tree by one rename. Where the folder
    exists, because it has other people's files or images that stay in place, the images are
    renamed into it one by one, and the receipt names the staging folder until the last one is
    there.
    """

    root: Path
    """The collection's folder."""
    state: Path
    """The program's own folder in it."""
    layout: Layout
    """Where new series go."""
    receipts: Receipts
    disk: Disk
    images: DicomImages
    is_taken: Callable[[str, str], bool]
    """Whether another series than the given one owns a folder."""
    notify: Callable[[str], None]
    """Called with a sentence for each file that was moved aside."""
    _move_lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _new_folders: set[Path] = field(default_factory=set, init=False)
    """Folders of patients and studies that may not be durable yet."""

    def folders(self, series: Series, receipt: Receipt | None, study_id: str = "") -> list[str]:
        """The folders where images of a series may be, its receipt's first."""
        own = [receipt.folder] if receipt else []
        return list(dict.fromkeys([*own, *self.layout.folders(series, study_id)]))

    def is_complete(self, receipt: Receipt) -> bool:
        """Whether the folder has all files that the receipt names; none is opened.

        A file whose path is too long for other programs does not count.
        """
        files = {image.file for image in receipt.images}
        if not files or foreign_link(self.root, receipt.folder) or self._too_long(receipt):
            return False
        names = files_in(receipt.path(self.root))
        missing = files - names
        # A file system that ignores case may list other spellings.
        return len(names) >= len(files) and all(
            (self.root / receipt.folder / name).is_file() for name in missing
        )

    def _too_long(self, receipt: Receipt) -> str:
        """The path that is too long for other programs; empty if there is none."""
        if not self.disk.has_short_paths:
            return ""
        name = max((image.file for image in receipt.images), key=len)
        longest = os.path.join(self.root / receipt.folder, name)  # noqa: PTH118 - per series
        return "" if self.disk.can_open(longest) else longest

    def commit(self, staging: Staging) -> Receipt:
        """Publish a complete and verified series: sync, receipt, rename, in this order.

        Raises:
            FileNotFoundError: another run took the staging folder, or images that were in place.
            TakenOverError: another run publishes the series, where locks do not work.
            IncompleteSeriesError: there is no image, or one changed since it was written.
            PathTooLongError: programs could not open the images.
        """
        if not staging.images:
            raise IncompleteSeriesError(f"series {staging.series.uid} has no image")
        self._check_unchanged(staging)
        old = self.receipts.read(staging.series.uid)
        if old is not None and self._is_same(old.receipt, staging):
            self.disk.remove_folder(staging.folder)
            return old.receipt
        headers = filter(None, (image.attributes for image in staging.images.values()))
        study_id = next((header.study_id for header in headers if header.study_id), "")
        folders = self.folders(staging.series, old.receipt if old else None, study_id)
        if staging.in_place and staging.tree_folder is not None:
            folders = [staging.tree_folder.relative_to(self.root).as_posix()]
        images = self._named(staging, old.receipt if old else None, study_id)
        receipt = Receipt(
            series=staging.series,
            folder=folders[0],
            images=images,
            finished=utc_now(),
            program=PROGRAM,
            headers=shared_headers([image.attributes for image in images]),
        )
        self._check_path_lengths(receipt)
        self._sync(staging, images)
        replaces: dict[str, str] = {}
        if old is not None and old.receipt.folder == folders[0]:
            replaces = {image.file: image.md5 for image in old.receipt.images}
        self.receipts.write(StoredReceipt(receipt, staging.folder.name, replaces))
        return self._publish(staging.folder, receipt, replaces, folders[1:])

    def finish(self, stored: StoredReceipt) -> Receipt | None:
        """Finish a commit that was interrupted; its receipt, or None if it cannot be finished."""
        receipt = stored.receipt
        staged = self.state / "staging" / receipt.series.uid / stored.staged
        if not stored.staged or staged.is_symlink() or not staged.is_dir():
            return None
        if stored.moved_from is not None:
            self._collect(stored.moved_from, receipt, staged)
        if foreign_link(self.root, receipt.folder):
            return None
        waiting, folder = _sizes(staged), self.root / receipt.folder
        placed = [image for image in receipt.images if waiting.get(image.file) != image.size]
        if not all(_has_size(folder / image.file, image.size) for image in placed):
            return None
        others = [] if placed else self.folders(receipt.series, receipt, receipt.study_id)[1:]
        try:
            return self._publish(staged, receipt, stored.replaces, others)
        except _FolderTakenError:  # after runs without locks: this series leaves it
            return None

    def relayout(self, receipt: Receipt, staged: Path) -> Receipt:
        """Rename the folder and the images of a complete series as the layout does.

        The receipt is written first, and is durable: it says where the images are from and which
        staging folder they pass through, so that `finish` resumes after a crash.

        Args:
            receipt: of the series, with what the headers of its images say.
            staged: a new folder in staging.

        Raises:
            TakenOverError: another run moves the series, where locks do not work.
            PathTooLongError: programs could not open the images.
        """
        folder, images = self.in_layout(receipt)
        renamed = replace(receipt, folder=folder, images=images)
        self._check_path_lengths(renamed)
        old = {image.uid: image.file for image in receipt.images}
        files = {image.uid: old[image.uid] for image in images if image.file != old[image.uid]}
        self.disk.make_lasting_folder(staged)
        moved_from = MovedFrom(receipt.folder, files)
        self.receipts.write(StoredReceipt(renamed, staged.name, moved_from=moved_from))
        self.disk.sync_folder(self.receipts.folder)
        stored = self.receipts.read(receipt.series.uid)
        done = self.finish(stored) if stored and stored.staged == staged.name else None
        if done is None:
            self.disk.remove_empty(staged)
            raise TakenOverError(receipt.series.uid)
        return done

    def in_layout(self, receipt: Receipt) -> tuple[str, tuple[StoredImage, ...]]:
        """The folder and the images of a series as the layout names them.

        The folder stays the same if the layout permits it.
        """
        study_id, images = receipt.study_id, receipt.images
        folders = self.layout.folders(receipt.series, study_id)
        attributes = receipt.attributes() or [ImageAttributes()] * len(images)
        by_uid = dict(zip((image.uid for image in images), attributes, strict=True))
        names = self.layout.file_names(receipt.series, by_uid, study_id)
        folder = receipt.folder if receipt.folder in folders else folders[0]
        return folder, tuple(image.renamed(names.get(image.uid, "")) for image in images)

    def _collect(self, moved_from: MovedFrom, receipt: Receipt, staged: Path) -> None:
        """Move the images of a series that gets other names into its staging folder.

        A folder that has nothing else is renamed as a whole, so that no program sees a part of the
        series.
        """
        origin = self.root / moved_from.folder
        whole = staged.with_name(f"{staged.name}{_WHOLE}")
        if foreign_link(self.root, moved_from.folder):
            return
        files = {image.uid: moved_from.files.get(image.uid, image.file) for image in receipt.images}
        if not whole.is_dir() and not any(staged.iterdir()) and _has_only(origin, files.values()):
            self.disk.rename(origin, whole)
        for folder in (whole, origin):
            for image in receipt.images:
                self._move_image(folder / files[image.uid], staged / image.file)
        if whole.is_dir():
            self._restore_foreign_files(whole, origin)
        self.disk.sync_folder(staged)
        for folder in (origin, *origin.parents):
            if self.root in folder.parents:
                self.disk.remove_empty(folder)

    def _move_image(self, source: Path, target: Path) -> None:
        if source.is_file() and not source.is_symlink() and not os.path.lexists(target):
            self.disk.replace(source, target)

    def _restore_foreign_files(self, whole: Path, origin: Path) -> None:
        """Put files back that another program wrote into a folder while it was renamed."""
        for path in sorted(whole.iterdir()):
            self.disk.make_folder(origin)
            target = origin / path.name
            if os.path.lexists(target):
                self.notify(move_aside(self.disk, target))
            self.disk.rename(path, target)
        self.disk.remove_empty(whole)

    def _check_unchanged(self, staging: Staging) -> None:
        """Check that the images are as they were written; move anything else out of staging."""
        sizes = _sizes(staging.folder)
        for name in sizes.keys() - {staged_name(image) for image in staging.staged()}:
            path = staging.folder / name
            if is_temporary(name) and not path.is_dir():
                self.disk.remove(path)
            else:
                set_aside(self.disk, path, self.state / "quarantine" / staging.series.uid)
        for image in staging.staged():
            size = sizes.get(staged_name(image))
            if size is None:
                raise FileNotFoundError(staging.path(image))
            if size != image.size:
                raise _changed(image, staging.series)
        for path, image in staging.images_in_place():
            if path.stat().st_size != image.size:  # no file where another run took it
                raise _changed(image, staging.series)

    def _named(
        self, staging: Staging, old: Receipt | None, study_id: str
    ) -> tuple[StoredImage, ...]:
        """The images with their final names.

        Images that the receipt before names, or that stay in place, keep their names. If these
        leave no free name for another image, that is named by its UID.
        """
        images = dict(sorted(staging.images.items()))
        if not self.images.has_uids:
            return tuple(images.values())
        kept = {image.uid: image.name for image in old.images} if old else {}
        kept |= {uid: images[uid].name for uid in staging.in_place}
        attributes = {uid: image.attributes for uid, image in images.items()}
        names = self.layout.file_names(staging.series, attributes, study_id)
        taken = {
            images[uid].renamed(name).file.casefold() for uid, name in kept.items() if uid in images
        }
        names = {uid: name for uid, name in names.items() if name.casefold() not in taken}
        return tuple(
            image.renamed(kept.get(uid, names.get(uid, ""))) for uid, image in images.items()
        )

    def _sync(self, staging: Staging, images: Iterable[StoredImage]) -> None:
        """Force the images to the disk, and give them their final names."""
        for image in staging.staged():
            self.disk.sync_file(staging.path(image))
        for path, image in staging.images_in_place():
            if image.uid not in staging.recorded:
                with contextlib.suppress(PermissionError):  # Windows, of a read-only file
                    self.disk.sync_file(path)
        folder = os.path.join(staging.folder, "")  # noqa: PTH118 - joining Paths is slow
        files = {image.uid: image.file for image in images}
        for image in staging.staged():
            if staged_name(image) != files[image.uid]:
                self.disk.replace(staging.path(image), folder + files[image.uid])
        self.disk.sync_folder(staging.folder)

    def _is_same(self, receipt: Receipt, staging: Staging) -> bool:
        """Whether another run published the same images first, where locks do not work."""
        md5s = {image.uid: image.md5 for image in staging.images.values()}
        if receipt.series != staging.series or not self.is_complete(receipt):
            return False
        if md5s != {image.uid: image.md5 for image in receipt.images}:
            return False
        folder = self.root / receipt.folder
        return all(
            has_content(folder / image.file, image.size, image.md5)
            for image in receipt.images
            if image.uid not in staging.in_place
        )

    def _publish(
        self, staged: Path, receipt: Receipt, replaces: Mapping[str, str], others: list[str]
    ) -> Receipt:
        """Move a series into its folder, or into the first free one of `others`."""
        uid = receipt.series.uid
        self._check_path_lengths(receipt)
        while not self._move(staged, receipt, replaces):
            if not others:
                raise _FolderTakenError(
                    f"series {uid} has no folder of its own: another series is in {receipt.folder}",
                    hint="use another --output or --layout",
                )
            receipt, replaces = replace(receipt, folder=others.pop(0)), {}
            self._check_path_lengths(receipt)
            self.receipts.write(StoredReceipt(receipt, staged.name))
        stored = self.receipts.read(uid)
        is_elsewhere = stored is not None and stored.receipt.folder != receipt.folder
        if is_elsewhere or not self.is_complete(receipt):
            raise TakenOverError(uid)
        return receipt

    def _check_path_lengths(self, receipt: Receipt) -> None:
        if path := self._too_long(receipt):
            raise PathTooLongError(path)

    def _move(self, staged: Path, receipt: Receipt, replaces: Mapping[str, str]) -> bool:
        """Move a series into its folder; False if another series owns that."""
        target, uid = self.root / receipt.folder, receipt.series.uid
        with self._move_lock:
            self._clear_path(receipt.folder)
            self._new_folders.update(self.disk.make_folders(target.parent))
            if self.is_taken(receipt.folder, uid):
                return False
            # If the folder appears at this moment, the files are moved into it.
            is_whole = not target.is_dir() and self._rename_whole(staged, target)
        self._sync_above(receipt.folder)
        if is_whole:
            return True
        if self.is_taken(receipt.folder, uid):
            return False
        self._move_files(staged, receipt, replaces)
        return True

    def _rename_whole(self, staged: Path, target: Path) -> bool:
        """Rename a series' folder; False if there is another one in its place."""
        with contextlib.suppress(FileExistsError):
            self.disk.rename(staged, target)
            return True
        return False

    def _sync_above(self, series_folder: str) -> None:
        """Make the way to a series' folder durable.

        Not under the lock, for which all other commits wait. One of them may have made a folder
        on the way and not have synced it yet: then both do.
        """
        above = [self.root, *map(Path, way_to(self.root, series_folder)[:-1])]
        new = [folder for folder in above if folder in self._new_folders]
        parents = [parent for parent, folder in pairwise(above) if folder in new]
        for folder in dict.fromkeys([*parents, above[-1]]):
            self.disk.sync_folder(folder)
        self._new_folders.difference_update(new)

    def _move_files(self, staged: Path, receipt: Receipt, replaces: Mapping[str, str]) -> None:
        """Move images one by one into a folder that has other files, too."""
        folder, waiting = self.root / receipt.folder, _sizes(staged)
        for image in receipt.images:
            source, target = staged / image.file, folder / image.file
            if image.file in waiting and not _is_placed(source, target, image):
                self._free(target, replaces.get(image.file))
                self.disk.replace(source, target)
        for name in replaces.keys() - {image.file for image in receipt.images}:
            self._remove_replaced(folder / name, replaces[name])
        self.disk.sync_folder(folder)
        self.disk.remove_folder(staged)

    def _free(self, target: Path, md5: str | None) -> None:
        """Free an image's path: only an image of the previous receipt, with this MD5, is replaced.

        A symbolic link in its place is replaced, and never the file that it leads to.
        """
        if not os.path.lexists(target) or (md5 is not None and target.is_symlink()):
            return
        if not self._remove_replaced(target, md5):
            self.notify(move_aside(self.disk, target))

    def _remove_replaced(self, path: Path, md5: str | None) -> bool:
        """Remove an image of the previous version; False if the file is not that image."""
        if md5 is None or path.is_symlink() or not path.is_file():
            return False
        if not has_content(path, path.stat().st_size, md5):
            return False
        if self.images.stays_in_place:
            set_aside(self.disk, path, self.state / "quarantine" / path.parent.name)
        else:
            self.disk.remove(path)
        return True

    def _clear_path(self, series_folder: str) -> None:
        """Move aside a file that is in the place of the series' folder, or of one above it."""
        way = way_to(self.root, series_folder)
        for folder in way:
            try:
                mode = os.lstat(folder).st_mode
            except OSError:
                return
            if stat.S_ISDIR(mode):
                continue
            # A link above it may lead to a disk that is not mounted now.
            may_move = folder == way[-1] or not stat.S_ISLNK(mode)
            if (may_move and not Path(folder).is_dir()) or is_foreign_link(folder):
                self.notify(move_aside(self.disk, Path(folder)))


def way_to(root: Path, folder: str) -> list[str]:
    """The folders on the way from a collection's folder `root` to `folder`, which is the last one.

    They are texts: joining Paths takes longer than looking at the folders.
    """
    way, path = [], str(root)
    for name in folder.split("/"):
        path = f"{path}{os.sep}{name}"
        way.append(path)
    return way


def foreign_link(root: Path, folder: str) -> str:
    """The first link on the way from a collection's folder to `folder` that is not followed."""
    return next(filter(is_foreign_link, way_to(root, folder)), "")


def _has_only(folder: Path, files: Iterable[str]) -> bool:
    """Whether a folder has these files and nothing else."""
    try:
        with os.scandir(folder) as entries:
            names = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    except OSError:
        return False
    return all(names.values()) and names.keys() == set(files)


def _changed(image: StoredImage, series: Series) -> IncompleteSeriesError:
    return IncompleteSeriesError(
        f"image {image.uid} of series {series.uid} changed on disk while the series was fetched",
        hint="run the same command again; if this happens again, check the disk",
        missing=(image.uid,),
    )


def _is_placed(source: Path, target: Path, image: StoredImage) -> bool:
    """Whether the image is in its place already, perhaps as a hard link to the staged file."""
    with contextlib.suppress(OSError):
        if source.samefile(target):
            return True
    return has_content(target, image.size, image.md5)


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.is_file() and path.stat().st_size == size
    except OSError:
        return False


def _sizes(folder: Path) -> dict[str, int]:
    """The bytes of everything in a folder, without files of the operating system."""
    with os.scandir(folder) as entries:
        return {
            entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in entries
            if not is_system_file(entry.name)
        }
