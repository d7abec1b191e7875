"""What `doctor` checks of the archives: connections, and their protocols fact by fact."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from tcia_covid.archives.idc.archive import IdcArchive
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
from tcia_covid.core.models import RemoteImage, Series, StoredImage
from tcia_covid.core.redaction import redact
from tcia_covid.core.units import count, format_duration
from tcia_covid.formats.dicom import read_header
from tcia_covid.formats.hashes import same_md5
from tcia_covid.http.client import Client
from tcia_covid.http.connection import uses_system_store
from tcia_covid.http.errors import ca_bundles, parse_date, proxy_for
from tcia_covid.operations.doctor_facts import (
    Fact,
    FactError,
    FactList,
    FactOutcome,
    NotCheckedError,
)
from tcia_covid.selection.listing import compare_lists
from tcia_covid.transfer.verification import hash_matches

_LOOKUP_TIME = 4.0
"""Seconds that a name may take: resolvers without a network try for up to 30."""
_MAX_DIFFERENCE = 300.0
"""Seconds that this computer's clock may differ from an archive's."""
_CHECK_VERSION = "0" * 32
"""An ETag that no object has."""


def smallest_series() -> Series:
    """The smallest series of the catalog that has more than one image."""
    listed = (series for entry in series_catalog.info().entries for series in _cataloged(entry))
    return min(listed, key=lambda series: (series.size or 0, series.uid))


def _cataloged(entry: series_catalog.CatalogEntry) -> Iterator[Series]:
    for series in series_catalog.load(entry.collection):
        if (series.image_count or 0) > 1 and series.size:
            yield series


@dataclass(slots=True)
class MemorySink:
    """Keeps the images of one series in memory; a `Sink`.

    Attributes:
        series: whose images they must be.
        begun: the first bytes of objects, by their keys, as if an attempt had ended there.
        images: the files by SOPInstanceUID.
        md5s: the archive's MD5s, as it spells them.
    """

    series: Series
    begun: Mapping[str, bytes] = field(default_factory=dict)
    images: dict[str, bytes] = field(default_factory=dict)
    md5s: dict[str, str] = field(default_factory=dict)

    def receive(
        self, chunks: Iterable[bytes], *, source: str, image: RemoteImage | None = None
    ) -> StoredImage:
        """Keep one image."""
        data = (self._beginning(image) if image else b"") + b"".join(chunks)
        header = read_header(data)
        if header is None:
            raise BadResponseError(f"{source} sent an image that is not a DICOM file")
        if header.series != self.series.uid:
            raise FactError(f"{source} sent an image of series {header.series}")
        self.images[header.sop] = data
        return StoredImage(header.sop, len(data), md5_of(data), source=source)

    def partial_size(self, image: RemoteImage) -> int:
        """The bytes of `image` in `begun`."""
        return len(self._beginning(image))

    def note_md5(self, uid: str, stored: str) -> None:
        """Keep the archive's MD5."""
        self.md5s[uid] = stored

    def discard(self, uid: str) -> None:
        """Forget an image."""
        self.images.pop(uid, None)

    def has(self, image: RemoteImage) -> bool:
        """Nothing is known before it arrives."""
        del image
        return False

    @property
    def size(self) -> int:
        """Bytes of all images."""
        return sum(map(len, self.images.values()))

    def _beginning(self, image: RemoteImage) -> bytes:
        return self.begun.get(image.key or "", b"")


def md5_of(data: bytes) -> str:
    """The MD5 of an image."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@dataclass(slots=True)
class ArchiveChecks:
    """The facts of one archive, and the images that it sent."""

    facts: FactList
    client: Client
    url: str
    """Of the request that tries the connection."""
    params: Mapping[str, str]
    series: Series
    images: dict[str, bytes] = field(default_factory=dict)

    def check_connection(self) -> None:
        """Check name resolution, proxy, TLS, whether the archive responds, and the clock."""
        proxy = urlsplit(redact(proxy_for(self.url))).netloc
        host = urlsplit(proxy_for(self.url) or self.url).hostname or ""
        check, error, date = self.facts.check, None, ""
        if check("dns", lambda: _resolve(host)):
            try:
                date = self._request()
            except StatusError:
                pass  # a response: the facts of the protocol show what it means
            except TciaCovidError as caught:
                error = caught
        check("proxy", lambda: _proxy(proxy, error), needs=["dns"] if proxy else [])
        needs = ["proxy"] if proxy else ["dns"]
        check("tls", lambda: _tls(self.url, error), needs=needs)
        check("response", lambda: _response(self.url, error), needs=needs)
        check("clock", lambda: _clock(date, time.time()), needs=["response"])

    def _request(self) -> str:
        """The date in the archive's response."""
        with self.client.stream("GET", self.url, params=self.params) as response:
            return response.headers.get("Date", "")


def check_ca() -> str:
    """Say which authorities are trusted.

    Raises:
        ConfigError: the bundle cannot be read.
    """
    variable, bundle = next(ca_bundles(), ("", ""))
    if uses_system_store():
        return "the system's store, by the package truststore"
    path = bundle or DEFAULT_CA_BUNDLE_PATH
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if variable == "SSL_CERT_DIR":
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the CA bundle {path} named by {variable or 'certifi'} cannot be read",
            hint="set the variable to a PEM file with certificates, or unset it",
        ) from error
    known = count(len(context.get_ca_certs()), "certificate")
    return f"{known} in {path}, named by {variable}" if variable else f"{known} of certifi"


def _resolve(host: str) -> str:
    """Look a name up, and not for longer than `_LOOKUP_TIME`."""
    results: list[set[str]] = []
    errors: list[OSError] = []

    def look() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            results.append({str(address[0]) for *_, address in found})
        except (OSError, UnicodeError) as error:
            errors.append(error if isinstance(error, OSError) else OSError(str(error)))

    thread = threading.Thread(target=look, name="name-lookup", daemon=True)
    thread.start()
    thread.join(_LOOKUP_TIME)
    hint = "check the network connection and DNS, and the archive's URL"
    if not results:
        reason = errors[0].strerror if errors else f"no answer within {_LOOKUP_TIME:g} s"
        raise UnreachableError(f"the name {host} cannot be resolved: {reason}", hint=hint)
    return f"{host} is {', '.join(sorted(results[0])[:4])}"


def _proxy(proxy: str, error: TciaCovidError | None) -> str:
    if not proxy:
        raise NotCheckedError("the environment sets none for this archive")
    if error is not None and "proxy" in error.message:
        raise error
    return f"requests go through {proxy}"


def _tls(url: str, error: TciaCovidError | None) -> str:
    if urlsplit(url).scheme != "https":
        raise NotCheckedError("the URL is http")
    if isinstance(error, TlsError | ConfigError):
        raise error
    if error is not None:
        raise NotCheckedError("no connection")
    return "the certificate is trusted"


def _response(url: str, error: TciaCovidError | None) -> str:
    if isinstance(error, TlsError | ConfigError):
        raise NotCheckedError("no connection that can be trusted")
    if error is not None:
        raise error
    return f"{urlsplit(redact(url)).netloc} responds"


def _clock(date: str, now: float) -> str:
    then = parse_date(date)
    if then is None:
        raise NotCheckedError("the response has no date")
    difference = now - then.timestamp()
    text = f"{format_duration(abs(difference))} {'ahead of' if difference > 0 else 'behind'}"
    if abs(difference) > _MAX_DIFFERENCE:
        raise FactError(
            f"this computer's clock is {text} the archive's",
            hint="set the clock: certificates are valid between two dates",
        )
    return f"{text} the archive's"


def check_nbia(checks: ArchiveChecks, nbia: NbiaArchive) -> None:
    """Check what this program relies on with NBIA."""
    checks.check_connection()
    _NbiaChecks(checks, nbia).run()


class _NbiaChecks:
    """Each method gives what it saw."""

    def __init__(self, checks: ArchiveChecks, nbia: NbiaArchive) -> None:
        self._checks = checks
        self._series = checks.series
        self._nbia = nbia
        self._listed: Series = checks.series
        self._zip = MemorySink(checks.series)
        self._uid = ""

    def run(self) -> None:
        """Check every fact."""
        check = self._checks.facts.check
        check("collections", self.collections, needs=["response"])
        check("collection-list", self.collection_list, needs=["response"])
        check("list", self.series_list, needs=["response"])
        check("count", self.count, needs=["list"])
        check("image-list", self.image_list, needs=["response"])
        check("zip", self.series_zip, needs=["response"])
        self._checks.images = self._zip.images
        self._uid = min(self._zip.images, default="")
        check("md5-table", self.md5_table, needs=["zip"])
        check("image", self.image, needs=["zip"])
        check("image-hash", self.image_hash, needs=["zip"])
        check("series-hash", self.series_hash, needs=["zip"])

    def collections(self) -> str:
        """The names of all collections."""
        names = self._nbia.collections()
        folded = {name.casefold() for name in names}
        wanted = [entry.collection for entry in series_catalog.info().entries]
        missing = [name for name in wanted if name.casefold() not in folded]
        if missing:
            raise FactError(f"the list of collections does not name {', '.join(missing)}")
        return f"{len(names):,} names, among them the {len(wanted)} of the catalog"

    def collection_list(self) -> str:
        """Every series of the collection that has the fewest."""
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

    def series_list(self) -> str:
        """One series."""
        listed = self._nbia.list_series([self._series.uid])
        if not listed:
            raise FactError(f"series {self._series.uid} is not listed")
        self._listed = listed[0]
        if self._listed.image_count is None or self._listed.size is None:
            raise FactError("the row of a series has no ImageCount or no FileSize")
        return f"a series has {self._listed.image_count} images, {self._listed.size:,} bytes"

    def count(self) -> str:
        """Its ImageCount and FileSize."""
        found = (self._listed.image_count, self._listed.size)
        known = (self._series.image_count, self._series.size)
        if found != known:
            raise FactError(
                f"ImageCount {found[0]} and FileSize {found[1]}; in the catalog {known[0]} and "
                f"{known[1]}"
            )
        return "ImageCount and FileSize are those of the catalog"

    def image_list(self) -> str:
        """The UIDs of its images."""
        found = len(self._nbia.images(self._series))
        if found != self._series.image_count:
            raise FactError(f"{found} UIDs of {self._series.image_count} images")
        return f"{found} UIDs"

    def series_zip(self) -> str:
        """Its ZIP."""
        begun = time.monotonic()
        self._nbia.receive_series(self._series, self._zip)
        seconds = time.monotonic() - begun
        _check_amount(self._zip, self._series)
        return f"{len(self._zip.images)} images, {self._zip.size:,} bytes in {seconds:.1f} s"

    def md5_table(self) -> str:
        """The MD5s in the ZIP."""
        stored, images = self._zip.md5s, self._zip.images
        if missing := images.keys() - stored.keys():
            raise FactError(f"md5hashes.csv has no MD5 of {len(missing)} of {len(images)} images")
        wrong = [uid for uid, data in images.items() if not same_md5(stored[uid], md5_of(data))]
        if wrong:
            raise FactError(f"the MD5 of {len(wrong)} of {len(images)} images differs")
        return f"{len(stored)} MD5s, all right"

    def image(self) -> str:
        """One image by itself."""
        sink = MemorySink(self._series)
        self._nbia.receive_image(self._series, RemoteImage(uid=self._uid), sink)
        if sink.images != {self._uid: self._zip.images[self._uid]}:
            raise FactError("getSingleImage sent other bytes than the ZIP has")
        return "the same bytes as in the ZIP"

    def image_hash(self) -> str:
        """The MD5 of one image."""
        stored = self._nbia.image_md5(self._series, self._uid)
        if not stored:
            raise FactError("the archive gives no MD5 of an image")
        if not same_md5(stored, md5_of(self._zip.images[self._uid])):
            raise FactError("the MD5 of an image is not that of the bytes received")
        return "the MD5 of the bytes received"

    def series_hash(self) -> str:
        """The hash of the series."""
        published = self._nbia.series_md5(self._series)
        if published is None:
            raise NotCheckedError("v1 of the API has none, or the archive gives none")
        computed = {uid: md5_of(data) for uid, data in self._zip.images.items()}
        stored = [self._zip.md5s.get(uid) for uid in computed]
        if not hash_matches(published, stored, computed.values()):
            raise FactError("the hash of the series is not that over the MD5s of its images")
        return "the MD5 over the sorted MD5s of the images"


def check_idc(checks: ArchiveChecks, idc: IdcArchive) -> None:
    """Check what this program relies on with one of IDC's endpoints."""
    checks.check_connection()
    _IdcChecks(checks, idc).run()


class _IdcChecks:
    """Each method gives what it saw."""

    def __init__(self, checks: ArchiveChecks, idc: IdcArchive) -> None:
        self._checks = checks
        self._series = checks.series
        self._idc = idc
        self._objects: list[RemoteImage] = []
        self._sink = MemorySink(checks.series)
        self._bodies: dict[str, bytes] = {}
        """By key."""

    def run(self) -> None:
        """Check every fact."""
        check = self._checks.facts.check
        check("list", self.object_list, needs=["response"])
        check("object", self.objects, needs=["list"])
        self._checks.images = self._sink.images
        check("etag", self.etag, needs=["object"])
        check("range", self.rest, needs=["object"])
        check("if-match", self.if_match, needs=["object"])

    def object_list(self) -> str:
        """The objects of a series."""
        self._objects = self._idc.images(self._series)
        size = sum(image.size or 0 for image in self._objects)
        known = (self._series.image_count, self._series.size)
        if (len(self._objects), size) != known:
            raise FactError(
                f"{len(self._objects)} objects, {size:,} bytes; in the catalog {known[0]} images, "
                f"{known[1]:,} bytes"
            )
        return f"{len(self._objects)} objects, {size:,} bytes, as in the catalog"

    def objects(self) -> str:
        """The objects themselves."""
        begun = time.monotonic()
        for image in self._objects:
            stored = self._idc.receive_image(self._series, image, self._sink)
            self._bodies[image.key or ""] = self._sink.images[stored.uid]
        _check_amount(self._sink, self._series)
        seconds = time.monotonic() - begun
        return f"{len(self._bodies)} images, {self._sink.size:,} bytes in {seconds:.1f} s"

    def etag(self) -> str:
        """ETags that are MD5s."""
        hashed = [image for image in self._objects if image.md5]
        if not all(image.version for image in self._objects):
            raise FactError("an object of the list has no ETag that identifies its bytes")
        if not hashed:
            raise NotCheckedError("all objects were uploaded in parts: their ETags are no MD5s")
        if any(image.md5 != md5_of(self._bodies[image.key or ""]) for image in hashed):
            raise FactError("an ETag is not the MD5 of its object")
        return f"{len(hashed)} of {len(self._objects)} are the MD5 of their object"

    def rest(self) -> str:
        """The second half of an object."""
        image, body = self._first()
        sink = MemorySink(self._series, {image.key or "": body[: len(body) // 2]})
        self._idc.receive_image(self._series, image, sink)
        if [*sink.images.values()] != [body]:
            raise FactError("the end of an object has other bytes than the whole")
        return f"bytes {len(body) // 2:,} to {len(body):,} continue the first half"

    def if_match(self) -> str:
        """An object that changed since it was listed."""
        image, _ = self._first()
        changed = replace(image, version=_CHECK_VERSION)
        try:
            self._idc.receive_image(self._series, changed, MemorySink(self._series))
        except BadResponseError as error:
            how = "HTTP 412" if "412" in error.message else "its response has another ETag"
            return f"an object that changed since it was listed is refused: {how}"
        raise FactError("an object with another ETag than the listed one is sent")

    def _first(self) -> tuple[RemoteImage, bytes]:
        image = self._objects[0]
        return image, self._bodies[image.key or ""]


def _check_amount(sink: MemorySink, series: Series) -> None:
    found, known = (len(sink.images), sink.size), (series.image_count, series.size)
    if found != known:
        raise FactError(
            f"{found[0]} images and {found[1]:,} bytes arrived, of {known[0]} images and "
            f"{known[1]:,} bytes"
        )


def compare_images(archives: Mapping[str, Mapping[str, bytes]]) -> list[Fact]:
    """Compare the images that archives sent byte for byte, each with the first archive's."""
    facts = FactList("compare")
    first, *others = [name for name, images in archives.items() if images] or [""]
    if not others:
        facts.add("bytes", FactOutcome.NOT_CHECKED, "fewer than two archives sent the series")
    for name in others:

        def compare(name: str = name) -> str:
            images, known = archives[name], archives[first]
            if images.keys() != known.keys():
                raise FactError(f"{name} and {first} sent different images")
            differing = sum(images[uid] != known[uid] for uid in known)
            if differing:
                raise FactError(
                    f"{differing} of {count(len(known), 'image')} from {name} and {first} differ"
                )
            size = sum(map(len, known.values()))
            return f"{count(len(known), 'image')}, {size:,} bytes from {first} and {name} are equal"

        facts.check(name, compare)
    return facts.facts
