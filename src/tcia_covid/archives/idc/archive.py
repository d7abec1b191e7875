"""IDC behind the archive protocol: listed by the catalog, fetched object by object."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

from tcia_covid.archives.base import Sink
from tcia_covid.archives.idc.endpoints import (
    DEFAULT_ENDPOINTS,
    Endpoint,
    Endpoints,
    parse_endpoints,
)
from tcia_covid.archives.idc.s3 import GONE, ObjectReader, list_folder, refusals
from tcia_covid.core.errors import (
    ArchiveError,
    NotAvailableError,
    StatusError,
    UnknownCollectionError,
)
from tcia_covid.core.models import RemoteImage, Series, StoredImage
from tcia_covid.core.parallel import PooledTasks, WorkerPool
from tcia_covid.http.client import Client

_NAME = "idc"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_FOLDER = re.compile(r"[A-Za-z0-9-]{1,64}")
_VAIN_STARTS = 3
"""Attempts at an object's first byte after the first: more are its series' affair."""
_BEARABLE = 3
"""Objects of a series that the server may err at before the others are not asked for."""
_MOST_AT_ONCE = 8
_IMAGES_A_THREAD = 4
_BYTES_A_THREAD = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Location:
    """The folder of a series in its bucket."""

    series: str
    bucket: str
    folder: str


class IdcArchive:
    """IDC's public buckets.

    Args:
        client: speaks HTTP.
        base_url: `aws`, `gcs`, or the URL of another S3 server, which is spoken to in path
            style; several, with commas between, are tried in this order. None for Amazon, then
            Google.
        find: gives the series with these SeriesInstanceUIDs, with bucket and folder.
        list_all: gives all series of a collection, with bucket and folder.
        start_retries: further attempts at a first byte, of a list or of an object; None to be as
            patient as the client.

    Raises:
        UsageError: `base_url` is none of these.
    """

    name = _NAME
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
        self._hosts = Endpoints(parse_endpoints(base_url or DEFAULT_ENDPOINTS))
        self._find = find
        self._list_all = list_all
        self._vain_starts = start_retries
        self._helpers = WorkerPool(client.limiter.ceiling)

    def holds(self, series: Series) -> bool:
        """Whether the catalog knows where the series lies in IDC."""
        return self._known_place(series) is not None

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
                hint="other collections are fetched from NBIA, with '--source nbia'",
            )
        return series

    def list_series(self, uids: Iterable[str]) -> list[Series]:
        """The series with these UIDs as the catalog lists them, sorted; no network."""
        found = self._find(uids)
        return [found[uid] for uid in sorted(found)]

    def images(self, series: Series) -> list[RemoteImage]:
        """The objects of `series`: keys and sizes, and MD5s of those that were uploaded whole.

        Raises:
            NotAvailableError: the catalog or the bucket does not have the series.
        """
        place = self._place(series)
        return self._hosts.first_answer(lambda host: self._list(host, place))

    def receive_series(self, series: Series, sink: Sink) -> None:
        """Pour the objects that `sink` lacks into it, several at a time.

        One that is listed but gone is left out, for the caller to find: the others matter more. So
        they do where the server errs at a few; that is raised in the end.
        """
        place = self._place(series)
        self._hosts.first_answer(lambda host: self._receive(host, place, sink))

    def receive_image(self, series: Series, image: RemoteImage, sink: Sink) -> StoredImage:
        """Pour one object into `sink`; goes on inside it where the line breaks.

        Raises:
            NotAvailableError: IDC does not have it, or `image` has no key.
            BadAnswerError: it changed since it was listed (retryable, once listed again).
        """
        place = self._place(series)
        with refusals(f"object {image.key} of series {series.uid}"):
            return self._hosts.first_answer(
                lambda host: _pour(self._reader(host, place, image), sink)
            )

    def image_md5(self, series: Series, uid: str) -> str | None:
        """None: IDC's hashes are those of `images`, by key."""
        del series, uid
        return None

    def series_md5(self, series: Series) -> str | None:
        """None: IDC has none."""
        del series
        return None

    def _place(self, series: Series) -> _Location:
        place = self._known_place(series)
        if place is None:
            raise NotAvailableError(f"the catalog knows no place of series {series.uid} in IDC")
        return place

    def _known_place(self, series: Series) -> _Location | None:
        """Where the series lies: NBIA's lists do not say it, the catalog does."""
        if series.bucket is None or series.crdc_uuid is None:
            series = self._find([series.uid]).get(series.uid, series)
        bucket, folder = series.bucket or "", series.crdc_uuid or ""
        if _BUCKET.fullmatch(bucket) and _FOLDER.fullmatch(folder):
            return _Location(series.uid, bucket, folder)
        return None

    def _list(self, host: Endpoint, place: _Location) -> list[RemoteImage]:
        url = host.bucket_url(place.bucket)
        with refusals(f"series {place.series}"):
            images = list_folder(self._client, url, f"{place.folder}/", self._list_limit)
        if not images:
            raise NotAvailableError(f"IDC has no image of series {place.series}")
        return images

    def _receive(self, host: Endpoint, place: _Location, sink: Sink) -> None:
        lacking = [image for image in self._list(host, place) if not sink.has(image)]

        def fetch(image: RemoteImage) -> None:
            reader = self._reader(host, place, image)
            reader.worth_it = lambda: not gathering.failed()
            with refusals(f"object {image.key} of series {place.series}"):
                try:
                    _pour(reader, sink)
                except StatusError as error:
                    if error.retryable and len(troubles) < _BEARABLE:
                        troubles.append(error)
                    elif error.status != GONE:
                        raise

        troubles: list[StatusError] = []
        gathering = PooledTasks(lacking, fetch)
        gathering.run(self._helpers, threads_for(lacking))
        if troubles:
            raise troubles[0]

    def _reader(self, host: Endpoint, place: _Location, image: RemoteImage) -> ObjectReader:
        if image.key is None:
            raise NotAvailableError(f"IDC names images by key, and image {image.uid} has none")
        url = host.object_url(place.bucket, image.key)
        vain = _VAIN_STARTS if self._vain_starts is None else self._vain_starts
        return ObjectReader(self._client, url, image, self._hosts.limit, start_retries=vain)

    def _list_limit(self, error: ArchiveError) -> int | None:
        limits = (self._hosts.limit(error), self._vain_starts)
        return min((limit for limit in limits if limit is not None), default=None)


def threads_for(images: list[RemoteImage]) -> int:
    """How many requests at once a series of these objects deserves: 1 to 8.

    A request waits as long as 1 to 2 MB would take, so many small objects gain most; few big
    ones gain because one connection seldom fills the line.
    """
    size = sum(image.size or 0 for image in images)
    worth = 1 + max(len(images) // _IMAGES_A_THREAD, size // _BYTES_A_THREAD)
    return max(1, min(_MOST_AT_ONCE, len(images), worth))


def _pour(reader: ObjectReader, sink: Sink) -> StoredImage:
    # Closed at once, whatever happens: an abandoned reader would keep its place in the pace.
    with closing(reader.chunks()) as chunks:
        return sink.receive(chunks, source=_NAME, image=reader.image)
