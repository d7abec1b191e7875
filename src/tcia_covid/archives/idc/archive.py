"""IDC behind the archive protocol: listed by the catalog, downloaded object by object."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from tcia_covid.archives.base import Sink
from tcia_covid.archives.idc.endpoints import (
    DEFAULT_ENDPOINTS,
    Endpoint,
    Endpoints,
    most_promising,
    parse_endpoints,
)
from tcia_covid.archives.idc.s3 import ObjectReader, denied_as_unavailable, list_folder
from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    NotAvailableError,
    SeriesError,
    StatusError,
    TakenOverError,
    TlsError,
    UnknownCollectionError,
    UnreachableError,
)
from tcia_covid.core.events import Phase, PhaseChanged
from tcia_covid.core.models import RemoteImage, Series, StoredImage
from tcia_covid.core.parallel import PooledTasks, WorkerPool
from tcia_covid.formats.dicom import HEAD_SIZE, read_header
from tcia_covid.http.client import Client

_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_FOLDER = re.compile(r"[A-Za-z0-9-]{1,64}")
PUBLIC_BUCKETS = ("idc-open-data", "idc-open-data-cr", "idc-open-data-two")
_MAX_FAILURES = 3
"""Consecutive objects that fail before the other objects of a series are not requested."""
_MAX_THREADS = 8
_IMAGES_PER_THREAD = 4
_BYTES_PER_THREAD = 8 * 1024 * 1024


class _Location(NamedTuple):
    """The folder of a series in its bucket."""

    series: str
    bucket: str
    folder: str


class IdcArchive:
    """IDC's public buckets.

    `base_url` is as for `parse_endpoints`; None for Amazon, then Google. `find` and `list_all`
    give series by UID and by collection, with bucket and folder.
    """

    name = "idc"
    skips_known = True
    connections_per_job = 2
    """S3 serves single images, so more requests are useful than with NBIA's streams."""
    of_record = False

    def __init__(
        self,
        client: Client,
        base_url: str | None = None,
        *,
        find: Callable[[Iterable[str]], Mapping[str, Series]],
        list_all: Callable[[str], list[Series]],
    ) -> None:
        self._client = client
        self._endpoints = Endpoints(parse_endpoints(base_url or DEFAULT_ENDPOINTS))
        self._find = find
        self._list_all = list_all
        self._failed_keys: set[str] = set()
        """Objects that failed: requested last the next time."""
        self._pool = WorkerPool(client.connections)

    def has(self, series: Series) -> bool:
        """Whether the catalog knows the folder of the series in IDC."""
        return self._find_location(series) is not None

    def list_collection(self, collection: str) -> list[Series]:
        """Every series of `collection` as the catalog lists it; no network."""
        try:
            series = self._list_all(collection)
        except UnknownCollectionError:
            series = []
        if not series:
            raise NotAvailableError(
                f"the catalog lists no series of collection {collection!r} in IDC",
                hint="other collections are downloaded from NBIA, with '--source nbia'",
            )
        return series

    def list_series(self, uids: Iterable[str]) -> list[Series]:
        """The series with these UIDs as the catalog lists them, sorted; no network."""
        by_uid = self._find(uids)
        return [by_uid[uid] for uid in sorted(by_uid)]

    def images(self, series: Series) -> list[RemoteImage]:
        """The objects of `series`: keys, sizes, and MD5s of those uploaded in one part."""
        location = self._locate(series)
        return self._endpoints.try_each(lambda endpoint, _: self._list(endpoint, location))

    def find_folder(self, bucket: str, uuid: str) -> Series | None:
        """The series whose images are in a folder, by the first header; None if it is empty.

        Args:
            bucket: of the folder; empty to look in all public ones.
            uuid: the crdc_series_uuid.
        """
        for name in [bucket] if bucket else PUBLIC_BUCKETS:
            location = _Location("", name, uuid)
            with contextlib.suppress(NotAvailableError):
                return self._endpoints.try_each(partial(self._identify, location))
        return None

    def _identify(self, location: _Location, endpoint: Endpoint, _: bool) -> Series:  # noqa: FBT001
        images = self._list(endpoint, location)
        with closing(self._reader(endpoint, location, images[0]).chunks()) as chunks:
            head = b""
            while len(head) < HEAD_SIZE and (chunk := next(chunks, b"")):
                head += chunk
        header = read_header(head)
        if header is None:
            raise BadResponseError(f"object {images[0].key} is not a DICOM file")
        return Series(
            uid=header.series,
            collection=location.bucket,
            patient=header.patient,
            study=header.study,
            modality=header.modality or None,
            image_count=len(images),
            size=sum(image.size or 0 for image in images),
            bucket=location.bucket,
            crdc_uuid=location.folder,
        )

    def receive_series(self, series: Series, sink: Sink) -> None:
        """Store the objects that `sink` does not have, several at a time.

        Where some objects are not available, the others are stored before the error is raised.
        """
        location = self._locate(series)
        self._client.emit(PhaseChanged(series.uid, Phase.DOWNLOADING))
        self._endpoints.try_each(
            lambda endpoint, is_last: self._receive(endpoint, location, sink, is_last=is_last)
        )

    def receive_image(self, series: Series, image: RemoteImage, sink: Sink) -> StoredImage:
        """Store one object; resumes where the connection breaks.

        Raises:
            BadResponseError: it changed since it was listed (retryable, after listing it again).
        """
        location = self._locate(series)
        with denied_as_unavailable(f"object {image.key} of series {series.uid}"):
            return self._endpoints.try_each(
                lambda endpoint, _: _store(self._reader(endpoint, location, image), sink)
            )

    def image_md5(self, series: Series, uid: str) -> None:
        """None: IDC's hashes are those of `images`, by key."""
        del series, uid

    def series_md5(self, series: Series) -> None:
        """None: IDC has none."""
        del series

    def _locate(self, series: Series) -> _Location:
        if location := self._find_location(series):
            return location
        raise NotAvailableError(f"the catalog knows no folder of series {series.uid} in IDC")

    def _find_location(self, series: Series) -> _Location | None:
        """NBIA's lists do not have the folder; the catalog does."""
        if series.bucket is None or series.crdc_uuid is None:
            series = self._find([series.uid]).get(series.uid, series)
        bucket, folder = series.bucket or "", series.crdc_uuid or ""
        if _BUCKET.fullmatch(bucket) and _FOLDER.fullmatch(folder):
            return _Location(series.uid, bucket, folder)
        return None

    def _list(self, endpoint: Endpoint, location: _Location) -> list[RemoteImage]:
        url = endpoint.bucket_url(location.bucket)
        try:
            images = list_folder(self._client, url, f"{location.folder}/")
        except StatusError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            raise BadResponseError(
                f"{error.message}: there is no bucket", hint=error.hint
            ) from error
        if not images:
            raise NotAvailableError(f"IDC has no image of series {location.series}")
        return images

    def _receive(
        self, endpoint: Endpoint, location: _Location, sink: Sink, *, is_last: bool
    ) -> None:
        """Store the missing objects of a series; `is_last` if no other endpoint can."""
        missing = [image for image in self._list(endpoint, location) if not sink.has(image)]
        missing.sort(key=lambda image: image.key in self._failed_keys)
        errors = _ObjectErrors(is_last=is_last)

        def receive(image: RemoteImage) -> None:
            reader = self._reader(endpoint, location, image, retries=None if is_last else 1)
            reader.is_needed = lambda: not tasks.failed()
            try:
                with denied_as_unavailable(f"object {image.key} of series {location.series}"):
                    stored = _store(reader, sink)
                if not is_last and image.md5 not in (None, stored.md5):
                    sink.discard(stored.uid)
                    raise BadResponseError(
                        f"object {image.key} has MD5 {stored.md5}, the list has {image.md5}",
                        retryable=True,
                    )
            except TakenOverError:
                raise
            except (ArchiveError, SeriesError) as error:
                self._failed_keys.add(image.key or "")
                errors.add(error)
            else:
                self._failed_keys.discard(image.key or "")
                self._endpoints.worked(endpoint)
                errors.consecutive = 0

        tasks = PooledTasks(missing, receive)
        tasks.run(self._pool, threads_for(missing))
        errors.raise_any()

    def _reader(
        self,
        endpoint: Endpoint,
        location: _Location,
        image: RemoteImage,
        retries: int | None = None,
    ) -> ObjectReader:
        if image.key is None:
            raise NotAvailableError(f"IDC names images by key, and image {image.uid} has none")
        url = endpoint.object_url(location.bucket, image.key)
        return ObjectReader(self._client, url, image, retries=retries)


@dataclass(slots=True, eq=False)
class _ObjectErrors:
    """Collects the errors of single objects, as long as other objects may be stored."""

    is_last: bool
    """Whether no other endpoint can give the objects."""
    consecutive: int = 0
    _errors: list[ArchiveError | SeriesError] = field(default_factory=list)

    def add(self, error: ArchiveError | SeriesError) -> None:
        """Keep `error`, or raise it where it is no use to request further objects."""
        self._errors.append(error)
        self.consecutive += 1
        is_retryable = isinstance(error, ArchiveError) and error.retryable
        is_final = self.is_last and not is_retryable
        is_down = isinstance(error, UnreachableError | TlsError)
        if is_down or (self.consecutive >= _MAX_FAILURES and not is_final):
            raise error

    def raise_any(self) -> None:
        """Raise the most promising error, if there is any."""
        if self._errors:
            error = most_promising(self._errors)
            if isinstance(error, ArchiveError):
                error.attempts = 1  # objects are requested side by side
            raise error


def threads_for(images: list[RemoteImage]) -> int:
    """The number of simultaneous requests for a series of these objects: 1 to 8.

    A request waits as long as 1 to 2 MB take, so many small objects gain most; few large ones
    gain because one connection seldom uses the whole bandwidth.
    """
    size = sum(image.size or 0 for image in images)
    threads = 1 + max(len(images) // _IMAGES_PER_THREAD, size // _BYTES_PER_THREAD)
    return max(1, min(_MAX_THREADS, len(images), threads))


def _store(reader: ObjectReader, sink: Sink) -> StoredImage:
    reader.offset = sink.partial_size(reader.image)
    # Closed at once in any case: an abandoned reader would keep its slot.
    with closing(reader.chunks()) as chunks:
        stored = sink.receive(chunks, source=IdcArchive.name, image=reader.image)
    if reader.md5 is not None and reader.image.md5 is None:
        sink.note_md5(stored.uid, reader.md5)
    return stored
