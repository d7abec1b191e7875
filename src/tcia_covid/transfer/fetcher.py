"""One series from one archive: stream it, fetch missing images, check all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tcia_covid.archives.base import Archive
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    ChecksumError,
    ForeignImageError,
    IncompleteSeriesError,
    NotAvailableError,
    ResponseTimeoutError,
    SeriesChangedError,
    SeriesError,
    StatusError,
    TciaCovidError,
    TruncatedZipError,
    ZipError,
)
from tcia_covid.core.events import Emit, Notice
from tcia_covid.core.models import Check, RemoteImage, Series, archive_label
from tcia_covid.http.retry import Reachability, RetryPolicy
from tcia_covid.http.settings import HttpSettings
from tcia_covid.store.staging import Staging
from tcia_covid.transfer.availability import ArchiveAvailability
from tcia_covid.transfer.verification import (
    counts_match,
    note_hashes,
    series_hash_matches,
    verify_hashes,
)

_MAX_WRONG = 3
"""Downloads of one image with other bytes than the archive's own hash."""
_NOT_AVAILABLE_RETRIES = 1
_ALTERNATIVE_RETRIES = 2
"""Retries before another archive takes over …"""
_MAX_PAUSE = 5.0
"""… unless this one asks for a longer pause (seconds)."""
_MAX_FAILURES = 3
"""Consecutive single images that fail before the others are not requested."""
_FAILED_STREAM = (500, 502, 504)
"""HTTP statuses of a server that cannot make a ZIP, or not in time."""
_REFUSED_STREAM = (429, 503)
"""Those of an overloaded server: only after most retries are single images requested instead."""
_STREAM_RETRIES = 1
_REQUEST_BYTES = 64 * 1024
"""Bytes that a slow line could receive in the time that a request waits for its response."""
_DEFLATE_RATIO = 0.55
"""Bytes of a ZIP to those of its content: CT and radiographs deflate to 0.5 to 0.6."""


@dataclass(slots=True, eq=False)
class TransferContext:
    """What every part of a run shares."""

    stop: CancelToken
    settings: HttpSettings
    emit: Emit
    hash_archives: Sequence[Archive] = ()
    """Asked for hashes of images that come from another archive."""
    availability: ArchiveAvailability = field(default_factory=ArchiveAvailability)
    reachability: Reachability = field(default_factory=Reachability)
    """That of the archives' clients."""


class Streaming(Enum):
    """Whether to ask the archive for the whole series in one stream."""

    USEFUL = "useful"
    ONE_BROKEN_ZIP = "one broken ZIP"
    """Still useful: the next ZIP may be intact."""
    USELESS = "useless"
    """The stream brings no more images: they are fetched one by one."""

    def after_error(self, error: ArchiveError, *, progress: bool) -> Streaming:
        """Return the state after a stream that ended with `error`.

        A connection that breaks before anything arrived says nothing about streams; two ZIPs
        that are broken in themselves do.
        """
        broken = isinstance(error, ZipError) and not isinstance(error, TruncatedZipError)
        if not progress or (broken and self is Streaming.ONE_BROKEN_ZIP):
            return Streaming.USELESS
        return Streaming.ONE_BROKEN_ZIP if broken else self


@dataclass(slots=True, eq=False)
class SeriesFetcher:
    """The steps that complete one series from one archive; `fetch_series` decides their order."""

    archive: Archive
    staging: Staging
    """Receives the images; those that are in it already are not fetched again."""
    quarantine: Path
    """The folder for an image that stays wrong."""
    hash_archives: Sequence[Archive]
    """Other archives, asked for hashes that this one does not have."""
    retry: RetryPolicy
    has_alternative: bool
    """Whether another archive can take over."""
    context: TransferContext
    _streaming: Streaming = field(default=Streaming.USEFUL, init=False)
    _failed_streams: int = field(default=0, init=False)
    _refused_streams: int = field(default=0, init=False)
    _listing: list[RemoteImage] = field(default_factory=list, init=False)
    _wrong_downloads: Counter[str] = field(default_factory=Counter, init=False)
    _looked_up: set[str] = field(default_factory=set, init=False)
    """Wrong images whose hash was requested by itself."""
    _refetched: set[str] = field(default_factory=set, init=False)
    """Images that were downloaded again because no hash verifies them."""

    @property
    def series(self) -> Series:
        """As listed."""
        return self.staging.series

    @property
    def can_stream(self) -> bool:
        """Whether a stream of the whole series may bring missing images."""
        return self._streaming is not Streaming.USELESS

    def wait_to_retry(self, error: ArchiveError | SeriesError, *, progress: bool) -> None:
        """Wait before the next attempt.

        Args:
            error: why the last step failed.
            progress: whether that step brought images nevertheless.

        Raises:
            SeriesError: `error`: the archive cannot complete the series.
            ArchiveError: `error`: the retries are used up, or the archive is down.
        """
        if isinstance(error, SeriesError):
            raise error
        if progress:
            self._progressed()
        elif self.has_alternative:
            self._skip_if_down(error)
        if isinstance(error, BadResponseError):
            self._listing = []
        self.retry.failed(error, limit=self._limit(error))

    def _limit(self, error: ArchiveError) -> int | None:
        """The number of retries for errors of this type; None for as many as the settings say."""
        if self.has_alternative:
            is_long = (error.retry_after or 0.0) > _MAX_PAUSE
            return 0 if is_long or isinstance(error, ResponseTimeoutError) else _ALTERNATIVE_RETRIES
        return _NOT_AVAILABLE_RETRIES if isinstance(error, NotAvailableError) else None

    def _skip_if_down(self, error: ArchiveError) -> None:
        availability, name = self.context.availability, archive_label(self.archive.name)
        pause = availability.failed(self.archive, error)
        if pause is not None:
            text = f"{name} is skipped for {pause:.0f} s ({error.message})"
            self.context.emit(Notice(f"{text}; trying the other archive"))
        if availability.is_down(self.archive):
            raise error

    def _progressed(self) -> None:
        self.retry.progressed()
        self.context.availability.worked(self.archive)

    def discard_wrong_images(self) -> None:
        """Drop images whose MD5 is not the archive's, and record those whose MD5 is.

        Raises:
            ChecksumError: an image was wrong several times.
        """
        for uid in self._wrong_images():
            self._wrong_downloads[uid] += 1
            if self._wrong_downloads[uid] < _MAX_WRONG:
                self.staging.discard(uid)
                continue
            computed = self.staging.images[uid].md5
            published = self.staging.stored_md5[uid]
            path = self.staging.set_aside(uid, self.quarantine)
            raise ChecksumError(
                f"image {uid} of series {self.series.uid} has MD5 {computed}, "
                f"the archive's is {published}",
                hint=f"the image is kept for inspection as {path}",
                missing=(uid,),
            )
        self.staging.record_verified()

    def _wrong_images(self) -> list[str]:
        """The images that are wrong by all that the archive says of them.

        The list in a ZIP may contradict the archive's own hashes of the image and the series.
        """
        series, staging, availability = self.series, self.staging, self.context.availability
        wrong = staging.wrong()
        new = [uid for uid in wrong if uid not in self._looked_up]
        if not new or not self.archive.of_record:
            return wrong
        if counts_match(staging) and series_hash_matches(self.archive, staging, availability):
            staging.forget_md5s(wrong)
            staging.prove(wrong, Check.SERIES_MD5)
            return []
        self._looked_up.update(new)
        for uid in new:
            try:
                published = self.archive.image_md5(series, uid)
            except ArchiveError as error:
                availability.failed(self.archive, error)
                break
            if published is not None:
                staging.note_md5(uid, published)
        return staging.wrong()

    def stream(self) -> None:
        """Receive the whole series in one stream."""
        staging = self.staging
        before = set(staging.images)
        staging.begin_stream()
        try:
            self.archive.receive_series(self.series, staging)
        except ArchiveError as error:
            progress = self.archive.skips_known or not before or set(staging.images) > before
            self._streaming = self._streaming.after_error(error, progress=progress)
            if not self._cannot_stream(error):
                raise
        # The server leaves the missing images out every time, or gives no ZIP.
        self._streaming = Streaming.USELESS

    def _cannot_stream(self, error: ArchiveError) -> bool:
        """Whether the archive fails to make the ZIP of the series: it may give single images."""
        if self.archive.skips_known or not isinstance(error, StatusError):
            return False
        retries = self.context.settings.retries
        self._failed_streams += error.status in _FAILED_STREAM
        self._refused_streams += error.status in _REFUSED_STREAM
        return self._failed_streams > min(_STREAM_RETRIES, retries) or self._refused_streams > max(
            _STREAM_RETRIES, retries - 2
        )

    def fill(self, missing: list[RemoteImage]) -> None:
        """Fetch missing images, by stream or one by one, whichever moves fewer bytes.

        Raises:
            IncompleteSeriesError: the archive does not give all of them.
        """
        if self.can_stream and self._stream_is_cheaper(len(missing)):
            self.stream()
            return
        denied = self._fetch_images(missing)
        if any(error.retryable for error in denied.values()):
            self.context.stop.wait(self.context.settings.retry_wait)
            again = [image for image in missing if image in denied and denied[image].retryable]
            refused = {image: error for image, error in denied.items() if not error.retryable}
            denied = refused | self._fetch_images(again)
        if denied:
            names = self._names(list(denied))
            raise incomplete_error(self.series, len(denied), next(iter(denied.values())), names)

    def _stream_is_cheaper(self, missing: int) -> bool:
        """Whether a stream moves fewer bytes than single images; waiting counts as bytes."""
        if self.archive.skips_known:
            return True
        size, stored = self.staging.size, len(self.staging.images)
        estimated = size * (stored + missing) // stored if stored else missing * _REQUEST_BYTES
        total = self.series.size or estimated
        single_images = missing * _REQUEST_BYTES + max(0, total - size)
        return _REQUEST_BYTES + total * _DEFLATE_RATIO < single_images

    def _fetch_images(self, images: list[RemoteImage]) -> dict[RemoteImage, ArchiveError]:
        """Fetch single images; return those that the archive denies.

        Raises:
            ArchiveError: the archive fails for an image, after all others were fetched.
            SeriesError: an image is wrong, after all others were fetched.
        """
        denied: dict[RemoteImage, ArchiveError] = {}
        errors: list[ArchiveError | SeriesError] = []
        consecutive = 0
        for image in images:
            try:
                self.archive.receive_image(self.series, image, self.staging)
            except NotAvailableError as error:
                denied[image] = error
            except (StatusError, BadResponseError, ForeignImageError) as error:
                if isinstance(error, StatusError) and not error.retryable:
                    denied[image] = error
                    continue
                errors.append(error)
                consecutive += 1
                if consecutive >= _MAX_FAILURES:
                    break
            else:
                consecutive = 0
                self._progressed()
        if errors:
            raise errors[0]
        return denied

    def names_of_missing(self, *, may_request: bool) -> tuple[str, ...]:
        """The SOPInstanceUIDs, or else the keys, of the archive's images that are not in staging.

        Empty where there is no list of them, and none may be requested or the request fails.
        """
        try:
            listing = self._images() if may_request else self._listing
        except ArchiveError:
            return ()
        return self._names([image for image in listing if not self.staging.has(image)])

    def missing_images(self) -> list[RemoteImage]:
        """List the archive's images that are not in staging; discard images it does not have."""
        staging, listing = self.staging, self._images()
        missing = [image for image in listing if not staging.has(image)]
        uids = {image.uid or staging.uid_of(image) for image in listing}
        if None not in uids:
            for uid in sorted(staging.images.keys() - uids):
                staging.discard(uid)
        return missing

    def _names(self, missing: list[RemoteImage]) -> tuple[str, ...]:
        """The SOPInstanceUIDs of missing images where a list has them, else the archive's keys."""
        names = tuple(name for image in missing if (name := image.uid or image.key))
        if all(image.uid for image in missing):
            return names
        uids = self._listed_uids() - self.staging.images.keys()
        return tuple(sorted(uids)) if len(uids) == len(missing) else names

    def _listed_uids(self) -> set[str]:
        """The SOPInstanceUIDs of the series, from its receipt or another archive; empty if none."""
        if self.staging.recorded:
            return set(self.staging.recorded)
        for archive in self.hash_archives:
            try:
                uids = {image.uid for image in archive.images(self.series)}
            except ArchiveError as error:
                self.context.availability.failed(archive, error)
                continue
            if None not in uids:
                return {uid for uid in uids if uid is not None}
        return set()

    def _discard_extra_images(self) -> bool:
        """Discard images that are in no list, if all those that are listed are here."""
        staging, listed = self.staging, self._listed_uids()
        extra = staging.images.keys() - listed
        size = sum(image.size for uid, image in staging.images.items() if uid in listed)
        if len(staging.images) - len(extra) != self.series.image_count:
            return False
        if size != self.series.size:
            return False
        for uid in sorted(extra):
            staging.discard(uid)
            text = f"{archive_label(self.archive.name)} has an image that is not listed for series"
            self.context.emit(Notice(f"{text} {self.series.uid}: {uid} is ignored"))
        return True

    def ignores(self, error: ArchiveError | SeriesError) -> bool:
        """Whether `error` is about an object that is no image of the series, which is complete."""
        # A folder of objects may have others in it; a ZIP is what the archive says the series is.
        is_extra = isinstance(error, ForeignImageError) and not self.archive.of_record
        if not (is_extra and counts_match(self.staging)):
            return False
        self._streaming = Streaming.USELESS
        name = archive_label(self.archive.name)
        text = f"{name} has an object that is no image of its series, which is ignored"
        self.context.emit(Notice(f"{text} ({error.message})"))
        return True

    def _images(self) -> list[RemoteImage]:
        if not self._listing:
            self._listing = self.archive.images(self.series)
        if not self._listing:
            raise BadResponseError(
                f"the archive lists no images of series {self.series.uid}", retryable=True
            )
        return self._listing

    def prove(self) -> bool:
        """Compare hashes of a series whose count and bytes are as listed.

        Returns False if images turned out wrong, or were discarded because nothing proves them.

        Raises:
            SeriesChangedError: images of two versions are mixed.
        """
        staging = self.staging
        if self.archive.skips_known and staging.left_over.intersection(staging.unproven()):
            # The listing has hashes: images of an earlier run are recognized by them.
            for image in self._images():
                staging.has(image)
            staging.record_verified()
        return self._hashes_match() and self._is_one_version()

    def explain_difference(self) -> bool:
        """Prove a series that has all images, but not the count or bytes that are listed.

        Returns False if images are to be fetched again.

        Raises:
            SeriesError: no hash explains the difference.
        """
        series, staging = self.series, self.staging
        listed, stored = series.image_count, len(staging.images)
        if listed is not None and stored < listed:
            raise IncompleteSeriesError(
                f"series {series.uid} is incomplete: {listed} images are listed for it, "
                f"the archive has only {stored}",
                hint="run the same command again later; if this persists, report it to TCIA",
            )
        if listed is not None and stored > listed:
            if self._discard_extra_images():
                return False
            raise SeriesChangedError(
                f"series {series.uid} changed during the download: {listed} images were listed, "
                f"there are {stored} now",
                hint="run the same command again to update the list",
            )
        same_size = series.size in (None, staging.size)
        return (self._hashes_match() if same_size else self._explain_size()) and (
            self._is_one_version()
        )

    def _explain_size(self) -> bool:
        """Ask the archive of record for hashes; fetch images without a hash again, once."""
        staging, availability = self.staging, self.context.availability
        if not self.archive.of_record:
            raise self._size_error()
        if series_hash_matches(self.archive, staging, availability):
            staging.prove(list(staging.images), Check.SERIES_MD5)
            return True
        staging.forget_md5s(list(staging.images))
        note_hashes([self.archive], staging, list(staging.images), availability)
        if staging.wrong():
            return False
        unproven = sorted(staging.images.keys() - staging.stored_md5.keys())
        if self._refetched.intersection(unproven):
            raise self._size_error()
        self._refetched.update(unproven)
        for uid in unproven:
            staging.discard(uid)
        staging.record_verified()
        return not unproven

    def _size_error(self) -> IncompleteSeriesError:
        series, name = self.series, archive_label(self.archive.name)
        return IncompleteSeriesError(
            f"series {series.uid} has {self.staging.size} bytes at {name}, "
            f"{series.size} are listed, and no hash shows which image is wrong",
            hint="run the same command again later",
        )

    def _hashes_match(self) -> bool:
        return verify_hashes(self._hash_sources(), self.staging, self.context.availability)

    def _hash_sources(self) -> list[Archive]:
        """This archive even while it has problems, others unless they are down."""
        is_down = self.context.availability.is_down
        return [self.archive, *(other for other in self.hash_archives if not is_down(other))]

    def _is_one_version(self) -> bool:
        """Whether the images are of one version: none was replaced by another one."""
        replaced = self.staging.replaced()
        if not replaced or any(
            series_hash_matches(archive, self.staging, self.context.availability)
            for archive in self._hash_sources()
        ):
            return True
        raise SeriesChangedError(
            f"series {self.series.uid} changed in the archive: image {replaced[0]} differs from "
            "the one downloaded before",
            hint="--update downloads the new version; what is here is kept until then",
        )


def incomplete_error(
    series: Series, number: int, reason: TciaCovidError, missing: tuple[str, ...]
) -> IncompleteSeriesError:
    """The error for a series of which no archive gives `number` images, and why one of them.

    `missing` has their names, as far as they are known.
    """
    return IncompleteSeriesError(
        f"series {series.uid} is incomplete: the archive does not give {number} of its images "
        f"({reason.message})",
        hint="received images are kept; run the same command again later",
        missing=missing,
    )
