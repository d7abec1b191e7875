"""The images of a series that is not in the tree yet: written while they arrive."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tcia_covid.core.errors import (
    BadResponseError,
    ChecksumError,
    ConflictingImageError,
    ConnectionLostError,
    ForeignImageError,
    InterruptedRunError,
    StatusError,
    TakenOverError,
    UnreachableError,
)
from tcia_covid.core.files import Chunk
from tcia_covid.core.models import ADOPTED, Check, RemoteImage, Series, StoredImage
from tcia_covid.formats.dicom import HEAD_SIZE, PREAMBLE_SIZE, Header, header_of_file, is_dicom
from tcia_covid.formats.hashes import multipart_etags, parts_of_etag, same_md5
from tcia_covid.store.disk import Disk, contention_errors, destination_errors, read_state
from tcia_covid.store.quarantine import set_aside

STAGED = ".staged"
"""Suffix of images in staging, so that no program takes a partial series for a complete one."""
_ORIGINS = ".origins"
_ORIGIN = re.compile(r"([0-9.]+|\*) ([a-z]{1,16})")
_DEFAULT = "*"
"""In place of a UID: the source of images without a line of their own."""
_PARTIAL = ".partial"
"""Suffix of an image that is not received completely, and can be resumed."""
_MIN_RESUMABLE = 1024 * 1024
"""Bytes of the smallest image that is resumed by a later run."""
_INTERRUPTIONS = (ConnectionLostError, UnreachableError, StatusError, InterruptedRunError)
"""After these, a download resumes where it ended."""
_TEMPORARY = re.compile(r"\..+\.part|\.[0-9a-f]{32}\.partial|\.origins")
_MAX_UNMATCHED = 2
"""Different contents of an image that all contradict its ETag, before a third fails the series."""
_REPORT_INTERVAL = 0.1
"""Seconds between two calls of `on_bytes` for one image."""


def staged_name(image: StoredImage) -> str:
    """The name of an image in staging: by its UID, since the layout's names depend on all images.

    DICOM files also get a suffix.
    """
    file = f"{image.uid}{image.suffix}"
    return f"{file}{STAGED}" if image.suffix == ".dcm" else file


def is_temporary(name: str) -> bool:
    """Whether a file in staging is a record or an image that was not completely received."""
    return _TEMPORARY.fullmatch(name) is not None


def is_resumable(name: str) -> bool:
    """Whether a temporary file is the start of an image, which a later run can complete."""
    return is_temporary(name) and name.endswith(_PARTIAL)


class ImageOrigins:
    """Records, in a staging folder, which archive each of its images came from."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._file = f"{folder}{os.sep}{_ORIGINS}"
        self.disk = disk
        self._default: str | None = None
        self._listed: set[str] = set()

    def note(self, uid: str, source: str) -> None:
        """Record the source of image `uid`; the last line counts.

        The source of the first image is recorded for all: most series come from one archive.
        """
        if self._default is None:
            self._default = source
            if source != ADOPTED:
                self.disk.append(self._file, f"{_DEFAULT} {source}\n".encode())
        elif source != self._default or uid in self._listed:
            self._listed.add(uid)
            self.disk.append(self._file, f"{uid} {source}\n".encode())

    def clear(self) -> None:
        """Remove the record."""
        self.disk.remove(self._file)

    def read(self) -> Callable[[str], str]:
        """A function from SOPInstanceUID to source; `ADOPTED` where no line gives it.

        Lines that a crash cut, or that were changed, do not count.
        """
        try:
            text = read_state(self._file).decode("ascii", "replace")
        except OSError:
            text = ""
        lines = (_ORIGIN.fullmatch(line) for line in text.splitlines())
        sources = {line[1]: line[2] for line in lines if line}
        default = sources.get(_DEFAULT, ADOPTED)
        return lambda uid: sources.get(uid, default)


class Staging:
    """A folder that takes the images of one series; implements the archives' `Sink`.

    Args:
        series: what is fetched.
        folder: exists, and belongs to this run alone.
        disk: all file-system writes.
        on_bytes: called with the number of bytes written (positive) or removed (negative).
    """

    def __init__(
        self, series: Series, folder: Path, disk: Disk, on_bytes: Callable[[int], None]
    ) -> None:
        self.series = series
        self.folder = folder
        self.images: dict[str, StoredImage] = {}
        """By SOPInstanceUID."""
        self.stored_md5: dict[str, str] = {}
        """The archive's hash by SOPInstanceUID, as the archive spells it."""
        self.recorded: dict[str, StoredImage] = {}
        """Images that the receipt names, by SOPInstanceUID."""
        self.left_over: set[str] = set()
        """SOPInstanceUIDs of images that count only if a hash proves them: they were on disk before
        this run, or no usual size of parts gives their ETag."""
        self.quarantined_files = 0
        """Files that were moved to quarantine."""
        self.in_place: set[str] = set()
        """SOPInstanceUIDs of images that stay in the tree; all others are in `folder`."""
        self.tree_folder: Path | None = None
        """The series' folder in the tree, where images are in place."""
        # Joining Paths takes longer than the rename that they are for.
        self._prefix = os.path.join(folder, "")  # noqa: PTH118
        self.disk = disk
        self._on_bytes = on_bytes
        self._origins = ImageOrigins(folder, disk)
        self._keys: dict[str, str] = {}
        self._fresh: set[str] = set()
        self._etags: dict[tuple[str, int], frozenset[str]] = {}
        """By MD5 and number of parts."""
        self.etag_matches: set[str] = set()
        """Images with the ETag of an object in parts; the archive of record is asked first."""
        self._unmatched: dict[str, set[str]] = {}
        """MD5s of images, by SOPInstanceUID, that came with an ETag that does not fit."""
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def begin_stream(self) -> None:
        """Start a new stream, whose images replace those that are here."""
        self._fresh.clear()

    def receive(
        self, chunks: Iterable[Chunk], *, source: str, image: RemoteImage | None = None
    ) -> StoredImage:
        """Write one image, and keep it under its SOPInstanceUID (see `archives.base.Sink`)."""
        partial = self._partial(image)
        part = partial or f"{self._prefix}.{next(self._numbers)}.part"
        counted, is_resumed = 0, bool(partial and os.path.lexists(part))
        try:
            with (
                destination_errors(str(self.folder)),
                contention_errors(self.series.uid, self.folder),
            ):
                size, md5, head = self._write(part, chunks, is_resumed=is_resumed)
                counted = size
                header = self._header(part, head, is_resumed=is_resumed)
                stored = StoredImage(
                    header.sop, size, md5, source=source, attributes=header.attributes
                )
                self._keep(part, stored)
        except TakenOverError:
            raise
        except BaseException as error:
            self._on_bytes(-counted)
            is_interruption = isinstance(error, _INTERRUPTIONS) or not isinstance(error, Exception)
            with contextlib.suppress(OSError):
                if not (partial and is_interruption and Path(part).stat().st_size):
                    self.disk.remove(part)
            raise
        if image is not None:
            self._note(image, stored.uid)
        return stored

    def partial_size(self, image: RemoteImage) -> int:
        """The bytes of `image` that an interrupted download left here (see `Sink`)."""
        partial = self._partial(image)
        try:
            size = Path(partial).lstat().st_size if partial else 0
        except FileNotFoundError:
            return 0
        if partial and size > (image.size or 0):
            self.disk.remove(partial)
            return 0
        return size

    def _partial(self, image: RemoteImage | None) -> str | None:
        """The path of the start of an image; None where it is too small to be resumed.

        Its name says which version of which object it is the start of.
        """
        if image is None or not (image.key and image.version):
            return None
        if (image.size or 0) < _MIN_RESUMABLE:
            return None
        identity = f"{image.key}\n{image.version}\n{image.size}".encode()
        digest = hashlib.md5(identity, usedforsecurity=False).hexdigest()
        return f"{self._prefix}.{digest}{_PARTIAL}"

    def note_md5(self, uid: str, stored: str) -> None:
        """Note the archive's hash of image `uid`, as the archive spells it."""
        self.stored_md5[uid] = stored

    def forget_md5s(self, uids: Iterable[str]) -> None:
        """Remove the noted hashes of images: they are wrong, or another archive's."""
        for uid in uids:
            self.stored_md5.pop(uid, None)

    def has(self, image: RemoteImage) -> bool:
        """Whether `image` is here: by UID, by the archive's own name of it, by MD5 or by ETag.

        An image of an earlier run that is found by its hash is verified by that.
        """
        if self.uid_of(image) is not None:
            return True
        if image.uid is not None:
            return False
        for uid, stored in list(self.images.items()):
            if stored.md5 == image.md5 or self._has_etag(uid, image):
                self._note(image, uid)
                return True
        return False

    def uid_of(self, image: RemoteImage) -> str | None:
        """The SOPInstanceUID under which `image` is here; None if it is not, or not known."""
        uid = image.uid if image.key is None else self._keys.get(image.key, image.uid)
        return uid if uid in self.images else None

    def _matches(self, uid: str) -> bool | None:
        """Whether an image has the archive's hash; None where that is not known."""
        stored = self.stored_md5.get(uid)
        return None if stored is None else same_md5(stored, self.images[uid].md5)

    def wrong(self) -> list[str]:
        """The UIDs of images whose bytes differ from the archive's hash."""
        return [uid for uid in sorted(self.images) if self._matches(uid) is False]

    def unproven(self) -> list[str]:
        """The UIDs of images that no hash of the archive has verified."""
        return [
            uid
            for uid, image in sorted(self.images.items())
            if image.check is Check.SIZE and uid not in self.stored_md5
        ]

    def prove(self, uids: Iterable[str], check: Check) -> None:
        """Record how images were verified."""
        for uid in uids:
            self.images[uid] = replace(self.images[uid], check=check)

    def record_verified(self) -> None:
        """Record images as verified by their hash, or as unchanged since they were verified."""
        for uid, image in list(self.images.items()):
            recorded = self.recorded.get(uid)
            if self._matches(uid):
                self.prove([uid], Check.MD5)
            elif recorded is not None and recorded.md5 == image.md5 and image.check is Check.SIZE:
                self.prove([uid], recorded.check)

    def replaced(self) -> list[str]:
        """The UIDs of images whose bytes differ from the receipt's."""
        return sorted(
            uid
            for uid, image in self.images.items()
            if uid in self.recorded and self.recorded[uid].md5 != image.md5
        )

    @property
    def size(self) -> int:
        """Bytes of all images here."""
        return sum(image.size for image in self.images.values())

    def staged(self) -> list[StoredImage]:
        """The images in the staging folder: all but those in place."""
        return [image for uid, image in self.images.items() if uid not in self.in_place]

    def images_in_place(self) -> Iterator[tuple[Path, StoredImage]]:
        """The images that stay in the tree, with their paths."""
        if self.tree_folder is not None:
            for uid in sorted(self.in_place):
                yield self.tree_folder / self.images[uid].file, self.images[uid]

    def path(self, image: StoredImage) -> str:
        """The path of an image in the staging folder."""
        return self._prefix + staged_name(image)

    def adopt(self, image: StoredImage, place: Path | None = None) -> None:
        """Add an image that is on disk already, hashed and read by the caller.

        Args:
            image: the image; it is at `path(image)` unless `place` is given.
            place: the series' folder in the tree, where the image is and stays.
        """
        if place is not None:
            self.in_place.add(image.uid)
            self.tree_folder = place
        self.images[image.uid] = image
        self.left_over.add(image.uid)
        if image.uid not in self.in_place:
            self._origins.note(image.uid, image.source)

    def leave(self) -> None:
        """Leave the images for the next attempt; without images, remove the record of sources."""
        if not self.staged():
            self._origins.clear()

    def discard(self, uid: str) -> None:
        """Remove an image; one that is in place stays there and no longer counts."""
        image = self._drop(uid)
        if image is not None:
            with destination_errors(str(self.folder)):
                self.disk.remove(self.path(image))

    def set_aside(self, uid: str, quarantine: Path) -> Path:
        """Move an image to quarantine; return its new path. One in place stays where it is."""
        file = self.images[uid].file
        image = self._drop(uid)
        if image is None:
            return (self.tree_folder or self.folder) / file
        with destination_errors(str(quarantine)):
            return set_aside(self.disk, Path(self.path(image)), quarantine, image.file)

    def _drop(self, uid: str) -> StoredImage | None:
        """Remove an image from the list; None if it is in place."""
        image = self.images.pop(uid)
        self.etag_matches.discard(uid)
        self._on_bytes(-image.size)
        if uid in self.in_place:
            self.in_place.discard(uid)
            return None
        return image

    def _write(
        self, part: str, chunks: Iterable[Chunk], *, is_resumed: bool
    ) -> tuple[int, str, bytes]:
        md5 = hashlib.md5(usedforsecurity=False)
        head = b""
        size, reported, reported_at = 0, 0, time.monotonic()
        file = self.disk.open_existing(part, "r+b") if is_resumed else self.disk.create(part)
        try:
            while is_resumed and (block := file.read(HEAD_SIZE)):
                md5.update(block)
                size += len(block)
                head += block[: HEAD_SIZE - len(head)]
            for chunk in chunks:
                self.disk.write(file, chunk)
                md5.update(chunk)
                size += len(chunk)
                if len(head) < HEAD_SIZE:
                    head += chunk[: HEAD_SIZE - len(head)]
                if (now := time.monotonic()) - reported_at > _REPORT_INTERVAL:
                    self._on_bytes(size - reported)
                    reported, reported_at = size, now
        except BaseException:
            self._on_bytes(-reported)
            with contextlib.suppress(OSError):
                file.close()
            raise
        if self.series.image_count != 1:  # a single image is synced now
            self.disk.start_sync(file)
        file.close()
        self._on_bytes(size - reported)
        return size, md5.hexdigest(), head

    def _header(self, part: str, head: bytes, *, is_resumed: bool) -> Header:
        if len(head) < PREAMBLE_SIZE:
            raise BadResponseError(
                f"an image of series {self.series.uid} was cut to {len(head)} bytes",
                retryable=True,
            )
        try:
            header = header_of_file(part, head)
        except ForeignImageError as error:
            if not is_dicom(head) and not is_resumed:
                raise ForeignImageError(
                    f"series {self.series.uid}: the archive sent something that is not a DICOM file"
                ) from error
            problem = "was damaged on disk" if is_resumed else "was cut before its UIDs"
            raise BadResponseError(
                f"an image of series {self.series.uid} {problem}", retryable=True
            ) from error
        if header.series != self.series.uid:
            raise ForeignImageError(
                f"series {self.series.uid}: the archive sent an image of series {header.series}"
            )
        if _is_other_patient(header.patient, self.series.patient):
            raise ForeignImageError(
                f"series {self.series.uid}: the archive sent an image of another patient"
            )
        return header

    def _keep(self, part: str, stored: StoredImage) -> None:
        with self._lock:
            existing = self.images.get(stored.uid)
            if existing is not None and stored.uid in self._fresh and existing.md5 != stored.md5:
                raise ConflictingImageError(
                    f"series {self.series.uid}: image {stored.uid} came twice, with different bytes"
                )
            self._fresh.add(stored.uid)
            if existing is not None and existing.md5 == stored.md5:
                self.disk.remove(part)
                self._on_bytes(-stored.size)
                # The same bytes arrived again: the source is the new one.
                self.images[stored.uid] = replace(stored, check=existing.check)
                self.left_over.discard(stored.uid)
                return
            self.disk.replace(part, self.path(stored))
            self.in_place.discard(stored.uid)
            self.etag_matches.discard(stored.uid)
            self.left_over.discard(stored.uid)
            self._origins.note(stored.uid, stored.source)
            self.images[stored.uid] = stored
            if existing is not None:
                self._on_bytes(-existing.size)

    def _note(self, image: RemoteImage, uid: str) -> None:
        if image.uid is not None and image.uid != uid:
            raise ForeignImageError(
                f"series {self.series.uid}: asked for image {image.uid}, the archive sent {uid}"
            )
        if image.key is not None:
            self._keys[image.key] = uid
        if image.md5 is not None:
            self.note_md5(uid, image.md5)
        elif self._has_etag(uid, image):
            self.etag_matches.add(uid)
        elif parts_of_etag(image.version):
            self._note_unmatched(uid)

    def _has_etag(self, uid: str, image: RemoteImage) -> bool:
        """Whether image `uid` has the ETag of an object that was uploaded in parts."""
        stored, parts = self.images[uid], parts_of_etag(image.version)
        if parts is None or stored.size != image.size:
            return False
        if (stored.md5, parts) not in self._etags:
            place = self.tree_folder if uid in self.in_place else None
            path = place / stored.file if place else Path(self.path(stored))
            self._etags[stored.md5, parts] = multipart_etags(path, parts)
        return image.version in self._etags[stored.md5, parts]

    def _note_unmatched(self, uid: str) -> None:
        """Have an image fetched again that is damaged, or was uploaded in parts of unusual size.

        It counts once the same bytes have arrived twice.

        Raises:
            ChecksumError: other bytes arrived each time.
        """
        md5s = self._unmatched.setdefault(uid, set())
        if (md5 := self.images[uid].md5) in md5s:
            return
        md5s.add(md5)
        self.left_over.add(uid)
        if len(md5s) > _MAX_UNMATCHED:
            self.discard(uid)
            raise ChecksumError(
                f"image {uid} of series {self.series.uid} arrived {len(md5s)} times, each time "
                "with other bytes, and none has the archive's ETag",
                missing=(uid,),
            )


def _is_other_patient(header: str | None, listed: str) -> bool:
    """Whether a PatientID is another one; empty and non-ASCII values do not count."""
    if not header or not listed or not (header.isascii() and listed.isascii()):
        return False
    return header.strip().casefold() != listed.strip().casefold()
