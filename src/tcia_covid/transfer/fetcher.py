"""Completing one series from one archive: stream, look what lacks, fill, prove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.archives.base import Archive
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    ChecksumError,
    IncompleteSeriesError,
    NotAvailableError,
    SeriesChangedError,
    TruncatedZipError,
    ZipError,
)
from tcia_covid.core.events import Emit, Notice
from tcia_covid.core.models import Check, RemoteImage, Series
from tcia_covid.core.settings import HttpSettings
from tcia_covid.http.retry import RetryPolicy
from tcia_covid.store.staging import Staging
from tcia_covid.transfer.availability import ArchiveAvailability
from tcia_covid.transfer.verification import (
    check_count,
    counts_match,
    note_hashes,
    series_hash_matches,
    verify_hashes,
)

_WRONG_AT_MOST = 3
"""Deliveries of one image with other bytes than the archive's own hash."""
_NOT_GRANTED_RETRIES = 1
_ASKS_FOR_ABSENT = 2
_BROKEN_ZIPS = 2
_REQUEST = 64 * 1024
"""Bytes that a slow line could have brought in the time that a request waits for its answer."""
_DEFLATED = 0.55
"""A ZIP's share of the bytes that it holds: CT and radiographs deflate to 0.5 to 0.6."""


class SeriesFetcher:
    """One archive's attempts at one series, until it is complete and proved.

    Args:
        series: as listed.
        archive: where the images come from.
        staging: where they go; what is there already is not fetched again.
        quarantine: where an image goes that stays wrong.
        hash_archives: other archives whose hashes prove what no hash of its own does.
        patience: how long to go on trying.
        elsewhere: whether another archive can take over.
        context: the run's shared parts.
    """

    def __init__(
        self,
        series: Series,
        archive: Archive,
        staging: Staging,
        quarantine: Path,
        *,
        hash_archives: Sequence[Archive],
        patience: RetryPolicy,
        elsewhere: bool,
        context: TransferContext,
    ) -> None:
        self._series = series
        self._archive = archive
        self._staging = staging
        self._quarantine = quarantine
        self._provers = hash_archives
        self._patience = patience
        self._elsewhere = elsewhere
        self._context = context
        self._remote: list[RemoteImage] | None = None
        self._wrong: Counter[str] = Counter()
        self._streams_help = True
        self._broken_zips = 0
        self._fetched_anew = False

    def run(self) -> None:
        """Fetch until the series is complete and proved.

        Raises:
            SeriesError: it cannot be.
            ArchiveError: the archive gives no usable answers.
        """
        while True:
            before = set(self._staging.images)
            try:
                if self._step():
                    return
            except ArchiveError as error:
                if set(self._staging.images) - before:
                    self._progressed()
                elif self._elsewhere:
                    self._note_failure(error)
                if isinstance(error, BadResponseError):
                    self._remote = None
                limit = _NOT_GRANTED_RETRIES if isinstance(error, NotAvailableError) else None
                self._patience.failed(error, limit=limit)

    def _note_failure(self, error: ArchiveError) -> None:
        """Leave the archive to recover where it is down and another can take over.

        Raises:
            ArchiveError: `error`, then.
        """
        health, name = self._context.health, self._archive.name
        pause = health.failed(self._archive, error)
        if pause is not None:
            text = f"{name} is left alone for {pause:.0f} s ({error.message})"
            self._context.emit(Notice(f"{text}; series are taken from the other archive"))
        if health.is_down(self._archive):
            raise error

    def _step(self) -> bool:
        """Do the next thing that brings the series forward; True if it is complete and proved."""
        staging = self._staging
        self._drop_wrong()
        staging.record_verified()
        if not staging.images and self._streams_help:
            self._stream()
            return False
        if counts_match(self._series, staging):
            self._recognise()
            return self._prove() and self._is_one_version()
        missing = self._missing()
        if not missing:
            return self._reconcile()
        if self._streams_help and stream_is_cheaper(
            self._series, staging, len(missing), skips=self._archive.skips_known
        ):
            self._stream()
        else:
            self._fetch(missing)
        return False

    def _stream(self) -> None:
        before = set(self._staging.images)
        self._staging.begin_stream()
        try:
            self._archive.receive_series(self._series, self._staging)
            # It ended well: what it lacks, the server leaves out every time.
            self._streams_help = False
        except ArchiveError as error:
            # A line that breaks before anything arrived says nothing about streams; a ZIP that is
            # broken in itself, twice, does.
            cut = isinstance(error, TruncatedZipError)
            self._broken_zips += isinstance(error, ZipError) and not cut
            helped = self._archive.skips_known or not before or set(self._staging.images) > before
            self._streams_help = helped and self._broken_zips < _BROKEN_ZIPS
            raise

    def _fetch(self, missing: list[RemoteImage]) -> None:
        """Fetch images one by one; those that the archive denies are asked for once more."""
        denied = missing
        for attempt in range(_ASKS_FOR_ABSENT):
            if attempt and denied:
                self._context.stop.wait(self._context.settings.retry_wait)
            denied = [image for image in denied if not self._fetch_one(image)]
        if denied:
            raise IncompleteSeriesError(
                f"series {self._series.uid} is incomplete: the archive does not give "
                f"{len(denied)} of its images",
                hint="what is there is kept; run the same command again later",
                missing=tuple(image.uid for image in denied if image.uid is not None),
            )

    def _fetch_one(self, image: RemoteImage) -> bool:
        try:
            self._archive.receive_image(self._series, image, self._staging)
        except NotAvailableError:
            return False
        self._progressed()
        return True

    def _progressed(self) -> None:
        self._patience.progressed()
        self._context.health.worked(self._archive)

    def _missing(self) -> list[RemoteImage]:
        """The archive's images that are not here; what is here but not there is thrown away."""
        staging, listed = self._staging, self._listed()
        missing = [image for image in listed if not staging.has(image)]
        named = {image.uid or staging.uid_of(image) for image in listed}
        if None not in named:
            for uid in sorted(staging.images.keys() - named):
                staging.discard(uid)
        return missing

    def _listed(self) -> list[RemoteImage]:
        if not self._remote:
            self._remote = self._archive.images(self._series)
        if not self._remote:
            raise BadResponseError(
                f"the archive names no image of series {self._series.uid}", retryable=True
            )
        return self._remote

    def _recognise(self) -> None:
        """Prove what an earlier run left by the hashes of the archive's list, where it has such."""
        staging = self._staging
        left = staging.left_over.intersection(staging.unproven())
        if left and self._archive.skips_known:
            for image in self._listed():
                staging.has(image)
            staging.record_verified()

    def _reconcile(self) -> bool:
        """All named images are here, yet count or bytes are not those on record: find out why."""
        series, staging = self._series, self._staging
        check_count(series, staging)
        proved = self._prove() if series.size in (None, staging.size) else self._explain_size()
        return proved and self._is_one_version()

    def _explain_size(self) -> bool:
        """Count is right, bytes are not those on record: only the archive of record can say why.

        Where it has no hashes either, what they do not prove is fetched anew, once.
        """
        series, staging, health = self._series, self._staging, self._context.health
        if not self._archive.of_record:
            raise self._unexplained()
        if series_hash_matches(series, self._archive, staging, health):
            staging.prove(list(staging.images), Check.SERIES_MD5)
            return True
        staging.forget_md5s()
        note_hashes(series, [self._archive], staging, list(staging.images), health)
        if staging.wrong():
            return False
        unproven = sorted(staging.images.keys() - staging.stored_md5.keys())
        if unproven and self._fetched_anew:
            raise self._unexplained()
        self._fetched_anew = True
        for uid in unproven:
            staging.discard(uid)
        staging.record_verified()
        return not unproven

    def _unexplained(self) -> IncompleteSeriesError:
        series = self._series
        return IncompleteSeriesError(
            f"series {series.uid} has {self._staging.size} bytes at {self._archive.name}, "
            f"{series.size} are on record, and no hash tells which image is wrong",
            hint="run the same command again later",
        )

    def _prove(self) -> bool:
        return verify_hashes(self._series, self._askable(), self._staging, self._context.health)

    def _askable(self) -> list[Archive]:
        """Whom to ask for hashes: the archive at hand even while it is in trouble."""
        health = self._context.health
        return [self._archive, *(one for one in self._provers if not health.is_down(one))]

    def _is_one_version(self) -> bool:
        """Whether no image was replaced by one of a newer version, beside older ones.

        Raises:
            SeriesChangedError: one was; an update proves every image anew.
        """
        staging, health = self._staging, self._context.health
        replaced = staging.replaced()
        if not replaced:
            return True
        if any(series_hash_matches(self._series, one, staging, health) for one in self._askable()):
            return True
        raise SeriesChangedError(
            f"series {self._series.uid} changed in the archive: image {replaced[0]} has other "
            "bytes than when the series was complete",
            hint="--update fetches the new version; what is here is kept until then",
        )

    def _drop_wrong(self) -> None:
        for uid in self._staging.wrong():
            self._wrong[uid] += 1
            if self._wrong[uid] < _WRONG_AT_MOST:
                self._staging.discard(uid)
                continue
            here = self._staging.images[uid].md5
            said = self._staging.stored_md5[uid]
            kept = self._staging.set_aside(uid, self._quarantine)
            raise ChecksumError(
                f"image {uid} of series {self._series.uid} has MD5 {here}, the archive says {said}",
                hint=f"the image is kept for inspection as {kept}",
                missing=(uid,),
            )


def stream_is_cheaper(series: Series, staging: Staging, missing: int, *, skips: bool) -> bool:
    """Compare the bytes on the line of both ways, waiting counted as bytes.

    Args:
        series: as listed.
        staging: what is here.
        missing: images that are not.
        skips: whether the archive's stream leaves out what is here.
    """
    if skips:
        return True
    total = series.size or _guess(staging, missing)
    lacking = max(0, total - staging.size)
    whole = _REQUEST + total * _DEFLATED
    return whole < missing * _REQUEST + lacking


def _guess(staging: Staging, missing: int) -> int:
    here = len(staging.images)
    if here == 0:
        return missing * _REQUEST
    return staging.size * (here + missing) // here


@dataclass(frozen=True, slots=True)
class TransferContext:
    """What every part of a run shares."""

    stop: CancelToken
    settings: HttpSettings
    emit: Emit
    hash_archives: Sequence[Archive] = ()
    """Asked for hashes of what another archive gave."""
    health: ArchiveAvailability = field(default_factory=ArchiveAvailability)
