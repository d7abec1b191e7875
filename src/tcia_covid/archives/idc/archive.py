"""IDC behind the archive protocol: listed by the catalog, downloaded object by object."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus

from tcia_covid.archives.base import Sink
from tcia_covid.archives.idc.endpoints import (
    DEFAULT_ENDPOINTS,
    Endpoint,
    Endpoints,
    parse_endpoints,
)
from tcia_covid.archives.idc.s3 import (
    ObjectReader,
    denied_as_unavailable,
    list_folder,
    smallest,
)
from tcia_covid.core.errors import (
    ArchiveError,
    NotAvailableError,
    StatusError,
    UnknownCollectionError,
)
from tcia_covid.core.models import RemoteImage, Series, StoredImage
from tcia_covid.core.parallel import PooledTasks, WorkerPool
from tcia_covid.http.client import Client

_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_FOLDER = re.compile(r"[A-Za-z0-9-]{1,64}")
_START_RETRIES = 3
"""Retries before an object's first byte; the series' own retries follow."""
_MAX_SERVER_ERRORS = 3
"""Objects of a series with server errors before the other objects are not requested."""
_MAX_THREADS = 8
_IMAGES_PER_THREAD = 4
_BYTES_PER_THREAD = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Location:
    """The folder of a series in its bucket."""

    series: str
    bucket: str
    folder: str


class IdcArchive:
    """IDC's public buckets.

    Args:
        client: sends the requests.
        base_url: `aws`, `gcs`, or the URL of another S3 server (used in path style); several,
            separated by commas, are tried in this order. None for Amazon, then Google.
        find: gives the series with these SeriesInstanceUIDs, with bucket and folder.
        list_all: gives all series of a collection, with bucket and folder.
        start_retries: retries before a first byte, of a list or of an object; None for as many
            as the client's settings say.

    Raises:
        UsageError: `base_url` is none of these.
    """

    name = "idc"
    skips_known = True
    of_record = False

    def __init__(
        self,
        client: Client,
        base_url: str | None = None,
        *,
        find: Callable[[Iterable[str]], Mapping[str, Series]],
        list_all: Callable[[str], list[Series]],
        start_retries: int | None = None,
    ) -> None:
        self._client = client
        self._endpoints = Endpoints(parse_endpoints(base_url or DEFAULT_ENDPOINTS))
        self._find = find
        self._list_all = list_all
        self._start_retries = start_retries
        self._pool = WorkerPool(client.connections)

    def holds(self, series: Series) -> bool:
        """Whether the catalog knows the folder of the series in IDC."""
        return self._find_location(series) is not None

    def list_collection(self, collection: str) -> list[Series]:
        """Every series of `collection` as the catalog lists it; no network.

        Raises:
            NotAvailableError: the catalog does not have it.
        """
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
        """The objects of `series`: keys, sizes, and MD5s of those uploaded in one part.

        Raises:
            NotAvailableError: the catalog or the bucket does not have the series.
        """
        location = self._locate(series)
        return self._endpoints.try_each(lambda endpoint: self._list(endpoint, location))

    def receive_series(self, series: Series, sink: Sink) -> None:
        """Store the objects that `sink` does not have, several at a time.

        An object that is listed but does not exist is left out. Where the server fails for a few
        objects, the others are stored first.
        """
        location = self._locate(series)
        self._endpoints.try_each(lambda endpoint: self._receive(endpoint, location, sink))

    def receive_image(self, series: Series, image: RemoteImage, sink: Sink) -> StoredImage:
        """Store one object; resumes where the connection breaks.

        Raises:
            NotAvailableError: IDC does not have it, or `image` has no key.
            BadResponseError: it changed since it was listed (retryable, after listing it again).
        """
        location = self._locate(series)
        with denied_as_unavailable(f"object {image.key} of series {series.uid}"):
            return self._endpoints.try_each(
                lambda endpoint: _store(self._reader(endpoint, location, image), sink)
            )

    def image_md5(self, series: Series, uid: str) -> str | None:
        """None: IDC's hashes are those of `images`, by key."""
        del series, uid
        return None

    def series_md5(self, series: Series) -> str | None:
        """None: IDC has none."""
        del series
        return None

    def _locate(self, series: Series) -> _Location:
        location = self._find_location(series)
        if location is None:
            raise NotAvailableError(f"the catalog knows no folder of series {series.uid} in IDC")
        return location

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
        with denied_as_unavailable(f"series {location.series}"):
            images = list_folder(self._client, url, f"{location.folder}/", self._list_limit)
        if not images:
            raise NotAvailableError(f"IDC has no image of series {location.series}")
        return images

    def _receive(self, endpoint: Endpoint, location: _Location, sink: Sink) -> None:
        missing = [image for image in self._list(endpoint, location) if not sink.has(image)]

        def receive(image: RemoteImage) -> None:
            reader = self._reader(endpoint, location, image)
            reader.is_needed = lambda: not tasks.failed()
            with denied_as_unavailable(f"object {image.key} of series {location.series}"):
                try:
                    _store(reader, sink)
                except StatusError as error:
                    if error.retryable and len(server_errors) < _MAX_SERVER_ERRORS:
                        server_errors.append(error)
                    elif error.status != HTTPStatus.NOT_FOUND:
                        raise

        server_errors: list[StatusError] = []
        tasks = PooledTasks(missing, receive)
        tasks.run(self._pool, threads_for(missing))
        if server_errors:
            raise server_errors[0]

    def _reader(self, endpoint: Endpoint, location: _Location, image: RemoteImage) -> ObjectReader:
        if image.key is None:
            raise NotAvailableError(f"IDC names images by key, and image {image.uid} has none")
        retries = _START_RETRIES if self._start_retries is None else self._start_retries
        return ObjectReader(
            self._client,
            endpoint.object_url(location.bucket, image.key),
            image,
            self._endpoints.limit,
            start_retries=retries,
        )

    def _list_limit(self, error: ArchiveError) -> int | None:
        return smallest(self._endpoints.limit(error), self._start_retries)


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
    # Closed at once, whatever happens: an abandoned reader would keep its slot.
    with closing(reader.chunks()) as chunks:
        return sink.receive(chunks, source=IdcArchive.name, image=reader.image)
