"""What `doctor` checks of the archives: connections, and their protocols fact by fact."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from urllib.parse import urlsplit

from tcia_covid.archives.idc.archive import IdcArchive
from tcia_covid.archives.idc.endpoints import parse_endpoints
from tcia_covid.archives.nbia.archive import NbiaArchive
from tcia_covid.catalog import series_catalog
from tcia_covid.core.errors import (
    BadResponseError,
    ConfigError,
    StatusError,
    TciaCovidError,
    TlsError,
    UnreachableError,
)
from tcia_covid.core.files import Chunk
from tcia_covid.core.models import RemoteImage, Series, StoredImage
from tcia_covid.core.redaction import redact
from tcia_covid.core.units import count, format_duration
from tcia_covid.formats.dicom import read_header
from tcia_covid.formats.hashes import same_md5
from tcia_covid.http.client import Client
from tcia_covid.http.errors import parse_date, proxy_for
from tcia_covid.operations.doctor_facts import (
    Checks,
    Fact,
    FactError,
    FactOutcome,
    NotCheckedError,
    check,
    fact,
)
from tcia_covid.selection.listing import compare_lists
from tcia_covid.transfer.verification import hash_matches

_LOOKUP_TIME = 4.0
"""Seconds for resolving a name: resolvers without a network try for up to 30."""
_MAX_DIFFERENCE = 300.0
"""Seconds that this computer's clock may differ from an archive's."""
_CHECK_VERSION = "0" * 32
"""An ETag that no object has."""


def smallest_series() -> Series:
    """The smallest series of the catalog that has more than one image."""
    listed = (
        series
        for entry in series_catalog.info().entries
        for series in series_catalog.load(entry.collection)
        if (series.image_count or 0) > 1 and series.size
    )
    return min(listed, key=lambda series: (series.size or 0, series.uid))


class MemorySink:
    """Keeps the images of one series in memory; a `Sink`.

    Args:
        series: whose images they must be.
        begun: the first bytes of objects, by their keys, as if an attempt had ended there.

    Attributes:
        images: the files by SOPInstanceUID.
        md5s: the archive's MD5s, as it spells them.
    """

    def __init__(self, series: Series, begun: Mapping[str, bytes] | None = None) -> None:
        self._series = series
        self._begun = begun or {}
        self.images: dict[str, bytes] = {}
        self.md5s: dict[str, str] = {}

    def receive(
        self, chunks: Iterable[Chunk], *, source: str, image: RemoteImage | None = None
    ) -> StoredImage:
        """Keep one image."""
        received = bytearray(self._beginning(image) if image else b"")
        for chunk in chunks:
            received += chunk
        data = bytes(received)
        header = read_header(data)
        if header is None:
            raise BadResponseError(f"{source} sent an image that is not a DICOM file")
        if header.series != self._series.uid:
            raise FactError(f"{source} sent an image of series {header.series}")
        self.images[header.sop] = data
        return StoredImage(header.sop, len(data), _md5(data), source=source)

    def partial_size(self, image: RemoteImage) -> int:
        """The bytes of `image` in `begun`."""
        return len(self._beginning(image))

    def note_md5(self, uid: str, stored: str) -> None:
        """Keep the archive's MD5."""
        self.md5s[uid] = stored

    def discard(self, uid: str) -> None:
        """Remove an image."""
        self.images.pop(uid, None)

    def has(self, image: RemoteImage) -> bool:
        """False: everything is requested."""
        del image
        return False

    @property
    def size(self) -> int:
        """Bytes of all images."""
        return sum(map(len, self.images.values()))

    def _beginning(self, image: RemoteImage) -> bytes:
        return self._begun.get(image.key or "", b"")


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _resolve(host: str) -> str:
    """Resolve a name, for at most `_LOOKUP_TIME`."""
    addresses: set[str] = set()
    reasons = [f"no answer within {_LOOKUP_TIME:g} s"]

    def look() -> None:
        try:
            infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses.update({str(address[0]) for *_, address in infos})
        except (OSError, UnicodeError) as error:
            reasons.append(getattr(error, "strerror", None) or str(error))

    thread = threading.Thread(target=look, name="name-lookup", daemon=True)
    thread.start()
    thread.join(_LOOKUP_TIME)
    if not addresses:
        raise UnreachableError(
            f"the name {host} cannot be resolved: {reasons[-1]}",
            hint="check the network connection and DNS, and the archive's URL",
        )
    return f"{host} is {', '.join(sorted(addresses)[:4])}"


class ArchiveChecks(Checks):
    """The connection to an archive; subclasses check what it sends.

    Attributes:
        client: for all requests.
        series: what is requested.
        images: the images of it that the archive sent.
    """

    def __init__(
        self, group: str, client: Client, url: str, params: Mapping[str, str], series: Series
    ) -> None:
        super().__init__(group)
        self.client = client
        self.series = series
        self.sink = MemorySink(series)
        self.images = self.sink.images
        self._url = url
        self._params = params
        self._proxy = proxy_for(url)

    @cached_property
    def _response(self) -> str | TciaCovidError:
        """The date of a response (empty if it has none), or why there was no response."""
        try:
            with self.client.stream("GET", self._url, params=self._params) as response:
                return response.headers.get("Date", "")
        except StatusError:
            return ""  # a response: the facts of the protocol show what it means
        except TciaCovidError as error:
            return error

    @fact("dns")
    def _dns(self) -> str:
        return _resolve(urlsplit(self._proxy or self._url).hostname or "")

    @fact("proxy")
    def _proxy_responds(self) -> str:
        if not self._proxy:
            raise NotCheckedError("the environment sets none for this archive")
        self.need("dns")
        error = self._response
        if isinstance(error, TciaCovidError) and "proxy" in error.message:
            raise error
        return f"requests go through {urlsplit(redact(self._proxy)).netloc}"

    @fact("tls")
    def _tls(self) -> str:
        self.need("proxy" if self._proxy else "dns")
        if urlsplit(self._url).scheme != "https":
            raise NotCheckedError("the URL is http")
        error = self._response
        if isinstance(error, TlsError | ConfigError):
            raise error
        if isinstance(error, TciaCovidError):
            raise NotCheckedError("no connection")
        return "the certificate is trusted"

    @fact("response")
    def _responds(self) -> str:
        self.need("proxy" if self._proxy else "dns")
        error = self._response
        if isinstance(error, TlsError | ConfigError):
            raise NotCheckedError("no connection that can be trusted")
        if isinstance(error, TciaCovidError):
            raise error
        return f"{urlsplit(redact(self._url)).netloc} responds"

    @fact("clock", needs="response")
    def _clock(self) -> str:
        then = parse_date(str(self._response))
        if then is None:
            raise NotCheckedError("the response has no date")
        difference = time.time() - then.timestamp()
        text = f"{format_duration(abs(difference))} {'ahead of' if difference > 0 else 'behind'}"
        if abs(difference) > _MAX_DIFFERENCE:
            raise FactError(
                f"this computer's clock is {text} the archive's",
                hint="set the clock: certificates are valid between two dates",
            )
        return f"{text} the archive's"

    def _as_cataloged(self, images: int, size: int) -> str:
        """Return the numbers of images and bytes; raise `FactError` if the catalog differs."""
        found, known = (
            f"{number} images, {total:,} bytes"
            for number, total in ((images, size), (self.series.image_count, self.series.size or 0))
        )
        if found != known:
            raise FactError(f"{found}; in the catalog {known}")
        return found


class NbiaChecks(ArchiveChecks):
    """What this program relies on with NBIA."""

    def __init__(self, client: Client, url: str, series: Series) -> None:
        super().__init__("nbia", client, f"{url.rstrip('/')}/getCollectionValues", {}, series)
        self._nbia = NbiaArchive(client, url)
        self._listed = series

    @fact("collections", needs="response")
    def _collections(self) -> str:
        names = self._nbia.collections()
        folded = {name.casefold() for name in names}
        wanted = [entry.collection for entry in series_catalog.info().entries]
        missing = [name for name in wanted if name.casefold() not in folded]
        if missing:
            raise FactError(f"the list of collections does not name {', '.join(missing)}")
        return f"{len(names):,} names, among them the {len(wanted)} of the catalog"

    @fact("collection-list", needs="response")
    def _collection_list(self) -> str:
        entry = min(series_catalog.info().entries, key=lambda entry: entry.series)
        listed = {item.uid: item for item in self._nbia.list_collection(entry.collection)}
        known = {item.uid: item for item in series_catalog.load(entry.collection)}
        compared = compare_lists(entry.collection, listed, known)
        if compared.differs:
            raise FactError(
                f"{entry.collection}: {len(listed):,} series, {compared.same:,} of them as in the "
                f"catalog, which has {len(known):,}",
                hint=f"'tcia-covid plan {entry.collection} --compare' lists the differences",
            )
        return f"{entry.collection}: {len(listed):,} series, as in the catalog"

    @fact("list", needs="response")
    def _list(self) -> str:
        listed = self._nbia.list_series([self.series.uid])
        if not listed:
            raise FactError(f"series {self.series.uid} is not listed")
        self._listed = listed[0]
        if self._listed.image_count is None or self._listed.size is None:
            raise FactError("the row of a series has no ImageCount or no FileSize")
        return f"a series has {self._listed.image_count} images, {self._listed.size:,} bytes"

    @fact("count", needs="list")
    def _count(self) -> str:
        self._as_cataloged(self._listed.image_count or 0, self._listed.size or 0)
        return "ImageCount and FileSize are those of the catalog"

    @fact("image-list", needs="response")
    def _image_list(self) -> str:
        number = len(self._nbia.images(self.series))
        if number != self.series.image_count:
            raise FactError(f"{number} UIDs of {self.series.image_count} images")
        return f"{number} UIDs"

    @fact("zip", needs="response")
    def _zip(self) -> str:
        begun = time.monotonic()
        self._nbia.receive_series(self.series, self.sink)
        seconds = time.monotonic() - begun
        return f"{self._as_cataloged(len(self.images), self.sink.size)} in {seconds:.1f} s"

    @fact("md5-table", needs="zip")
    def _md5_table(self) -> str:
        stored, images = self.sink.md5s, self.images
        if missing := images.keys() - stored.keys():
            raise FactError(f"md5hashes.csv has no MD5 of {len(missing)} of {len(images)} images")
        wrong = [uid for uid, data in images.items() if not same_md5(stored[uid], _md5(data))]
        if wrong:
            raise FactError(f"the MD5 of {len(wrong)} of {len(images)} images differs")
        return f"{len(stored)} MD5s, all right"

    @fact("image", needs="zip")
    def _image(self) -> str:
        uid, sink = min(self.images), MemorySink(self.series)
        self._nbia.receive_image(self.series, RemoteImage(uid=uid), sink)
        if sink.images != {uid: self.images[uid]}:
            raise FactError("getSingleImage sent other bytes than the ZIP has")
        return "the same bytes as in the ZIP"

    @fact("image-hash", needs="zip")
    def _image_hash(self) -> str:
        uid = min(self.images)
        stored = self._nbia.image_md5(self.series, uid)
        if not stored:
            raise FactError("the archive gives no MD5 of an image")
        if not same_md5(stored, _md5(self.images[uid])):
            raise FactError("the MD5 of an image is not that of the bytes received")
        return "the MD5 of the bytes received"

    @fact("series-hash", needs="zip")
    def _series_hash(self) -> str:
        published = self._nbia.series_md5(self.series)
        if published is None:
            raise NotCheckedError("v1 of the API has none, or the archive gives none")
        computed = {uid: _md5(data) for uid, data in self.images.items()}
        stored = [self.sink.md5s.get(uid) for uid in computed]
        if not hash_matches(published, stored, computed.values()):
            raise FactError("the hash of the series is not that over the MD5s of its images")
        return "the MD5 over the sorted MD5s of the images"


class IdcChecks(ArchiveChecks):
    """What this program relies on with one of IDC's endpoints."""

    def __init__(self, group: str, client: Client, endpoint: str, series: Series) -> None:
        (parsed,) = parse_endpoints(endpoint)
        params = {"list-type": "2", "max-keys": "1", "prefix": f"{series.crdc_uuid}/"}
        super().__init__(group, client, parsed.bucket_url(series.bucket or ""), params, series)
        self._idc = IdcArchive(
            client,
            endpoint,
            find=lambda uids: {uid: series for uid in uids if uid == series.uid},
            list_all=series_catalog.load,
        )
        self._objects: list[RemoteImage] = []
        self._bodies: dict[str, bytes] = {}
        """By key."""

    @fact("list", needs="response")
    def _list(self) -> str:
        self._objects = self._idc.images(self.series)
        size = sum(image.size or 0 for image in self._objects)
        return f"{self._as_cataloged(len(self._objects), size)}, as in the catalog"

    @fact("object", needs="list")
    def _object(self) -> str:
        begun = time.monotonic()
        for image in self._objects:
            stored = self._idc.receive_image(self.series, image, self.sink)
            self._bodies[image.key or ""] = self.images[stored.uid]
        seconds = time.monotonic() - begun
        return f"{self._as_cataloged(len(self.images), self.sink.size)} in {seconds:.1f} s"

    @fact("etag", needs="object")
    def _etag(self) -> str:
        hashed = [image for image in self._objects if image.md5]
        if not all(image.version for image in self._objects):
            raise FactError("an object of the list has no ETag that identifies its bytes")
        if not hashed:
            raise NotCheckedError("all objects were uploaded in parts: their ETags are no MD5s")
        if any(image.md5 != _md5(self._bodies[image.key or ""]) for image in hashed):
            raise FactError("an ETag is not the MD5 of its object")
        return f"{len(hashed)} of {len(self._objects)} are the MD5 of their object"

    @fact("range", needs="object")
    def _range(self) -> str:
        image, body = self._first()
        sink = MemorySink(self.series, {image.key or "": body[: len(body) // 2]})
        self._idc.receive_image(self.series, image, sink)
        if [*sink.images.values()] != [body]:
            raise FactError("the end of an object has other bytes than the whole")
        return f"bytes {len(body) // 2:,} to {len(body):,} continue the first half"

    @fact("if-match", needs="object")
    def _if_match(self) -> str:
        image, _ = self._first()
        changed = image._replace(version=_CHECK_VERSION)
        try:
            self._idc.receive_image(self.series, changed, MemorySink(self.series))
        except BadResponseError as error:
            how = "HTTP 412" if "412" in error.message else "its response has another ETag"
            return f"an object that changed since it was listed is refused: {how}"
        raise FactError("an object with another ETag than the listed one is sent")

    def _first(self) -> tuple[RemoteImage, bytes]:
        image = self._objects[0]
        return image, self._bodies[image.key or ""]


def compare_images(archives: Sequence[ArchiveChecks]) -> Iterator[Fact]:
    """Compare the images that archives sent byte for byte, each with the first archive's."""
    sent = [archive for archive in archives if archive.images]
    if len(sent) <= 1:
        reason = "fewer than two archives sent the series"
        yield Fact("compare.bytes", FactOutcome.NOT_CHECKED, reason)
        return
    first, *others = sent
    for other in others:
        yield check(f"compare.{other.group}", partial(_compare, first, other))


def _compare(first: ArchiveChecks, other: ArchiveChecks) -> str:
    known, images = first.images, other.images
    if images.keys() != known.keys():
        raise FactError(f"{other.group} and {first.group} sent different images")
    of_both = count(len(known), "image")
    if differing := sum(images[uid] != known[uid] for uid in known):
        raise FactError(f"{differing} of {of_both} from {other.group} and {first.group} differ")
    size = f"{first.sink.size:,} bytes"
    return f"{of_both}, {size} from {first.group} and {other.group} are equal"
