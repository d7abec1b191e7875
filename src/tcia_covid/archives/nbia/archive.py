"""NBIA behind the archive protocol: lists, series as ZIP streams, single images, hashes."""

from __future__ import annotations

import contextlib
import json
import operator
import re
from codecs import iterdecode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from http import HTTPStatus
from itertools import pairwise
from sys import intern
from typing import Any, TypeVar

from tcia_covid.archives.base import Sink
from tcia_covid.archives.nbia.zip_download import (
    NAME,
    UnpackSlots,
    read_single_image,
    unpack_series,
)
from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    NotAvailableError,
    ResponseTimeoutError,
    StatusError,
)
from tcia_covid.core.events import Notice, Phase, PhaseChanged, activity
from tcia_covid.core.models import RemoteImage, Series, StoredImage
from tcia_covid.core.redaction import excerpt
from tcia_covid.core.safe_names import is_uid
from tcia_covid.core.units import count
from tcia_covid.http.client import Client
from tcia_covid.http.response import Response
from tcia_covid.http.settings import DEFAULT_NBIA_URL, check_nbia_url

T = TypeVar("T")
_LIST_LIMIT = 1024 * 1024 * 1024
"""Bytes. A series takes about 900: TCIA's largest collection, NLST, has 203,000; others have
25,000 at most."""
_ROW_LIMIT = 16 * 1024
"""Characters of one row, ten times those of a long one: hostile JSON takes up to 30 times its
length in memory, so no longer piece is parsed at once."""
_MAX_NUMBER = 10**15
"""No series has a petabyte, or so many images: such a number is an error."""
Row = Mapping[str, Any]
_LIST_START = re.compile(r"\s*\[\s*(?P<end>\])?")
_SEPARATOR = re.compile(r"\s*(?:,\s*(?!\])|(?P<end>\]))")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
"""JSON can escape them; files and terminals cannot represent them."""
_V4_DATE = re.compile(r"(\d\d)-(\d\d)-(\d{4})")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_UIDS_PER_REQUEST = 1000
_TEXT_LIMIT = 16 * 1024 * 1024
_HASH = re.compile(r"[0-9a-fA-F]{0,32}")
_NOT_PUBLIC = ("not been granted", "not in public domain")
_INCOMPLETE_RETRIES = 2
_HASH_RETRIES = 2
"""Few: a download can do without a hash."""


class _IncompleteListError(BadResponseError):
    """A list is empty, or without something requested: perhaps a failure of NBIA's database."""


class NbiaArchive:
    """One NBIA server.

    `base_url` ends in the API's version, v4 unless it ends in `/v1`. `timeout_retries` are those
    of a list after a first-byte timeout; None for as many as the client's settings say.
    """

    name = NAME
    skips_known = False
    connections_per_job = 1
    of_record = True

    def __init__(
        self,
        client: Client,
        base_url: str = DEFAULT_NBIA_URL,
        *,
        timeout_retries: int | None = None,
    ) -> None:
        check_nbia_url(base_url)
        self._client = client
        self._slots = UnpackSlots()
        self._timeout_retries = timeout_retries
        self._foreign_reported = False
        self._base = base_url.rstrip("/")
        self._is_v1 = self._base.endswith("/v1")

    def collections(self) -> list[str]:
        """The names of all public collections, as the archive spells them."""
        with activity(self._client.emit, "asking NBIA for the list of collections"):
            rows = self._fetch_list(self._url("getCollectionValues"), read_rows)
        if not rows:
            raise NotAvailableError("the archive lists no collection", hint="try again later")
        return sorted({str(row["Collection"]) for row in rows if row.get("Collection")})

    def has(self, series: Series) -> bool:
        """NBIA may have any series."""
        del series
        return True

    def list_collection(self, collection: str) -> list[Series]:
        """Every series of `collection`, without those of others that some servers add."""

        def read(response: Response) -> list[Series]:
            return self._without_foreign(read_series(response), collection)

        params = {"Collection": collection}
        with activity(self._client.emit, f"asking NBIA for the list of {collection}"):
            series = self._fetch_list(self._url("getSeries"), read, params)
        if series:
            return series
        raise NotAvailableError(
            f"the archive lists no series of collection {collection!r}",
            hint="check the name with 'tcia-covid list'; if it is correct, try again later",
        )

    def list_series(self, uids: Iterable[str]) -> list[Series]:
        """The series with these UIDs, sorted; unknown ones are absent.

        What is missing from a response, perhaps because of a database error, is requested again.
        """
        wanted = sorted(set(uids))
        by_uid: dict[str, Series] = {}

        def list_missing() -> None:
            missing = [uid for uid in wanted if uid not in by_uid]
            for start in range(0, len(missing), _UIDS_PER_REQUEST):
                part = missing[start : start + _UIDS_PER_REQUEST]
                by_uid.update((series.uid, series) for series in self._list_part(part))
            if any(uid not in by_uid for uid in missing):
                raise _IncompleteListError("the archive's list is incomplete", retryable=True)

        asking = activity(self._client.emit, f"asking NBIA for {count(len(wanted), 'series')}")
        with asking, contextlib.suppress(_IncompleteListError):
            self._client.retry_policy("series list").run(list_missing, self._list_limit)
        return [by_uid[uid] for uid in wanted if uid in by_uid]

    def find_series(self, column: str, value: str) -> list[Series]:
        """The series with this `StudyInstanceUID` or `PatientID` (in any case); none if unknown."""
        url, wanted = self._url("getSeries"), value.casefold()
        with activity(self._client.emit, f"asking NBIA for {column} {value}"):
            listed = self._client.fetch(
                url, read_series, params={column: value}, limit=self._list_limit
            )
        read = operator.attrgetter("study" if column == "StudyInstanceUID" else "patient")
        return [series for series in listed if read(series).casefold() == wanted]

    def shared_cart(self, name: str) -> list[str]:
        """The SeriesInstanceUIDs of a shared cart; only v1 knows them."""
        base = f"{self._base.removesuffix('/v4')}/v1" if self._base.endswith("/v4") else self._base
        rows = self._fetch_list(f"{base}/getContentsByName", read_rows, {"name": name})
        return sorted({str(row.get("SeriesInstanceUID", "")).strip() for row in rows} - {""})

    def images(self, series: Series) -> list[RemoteImage]:
        """The UIDs of the images of `series`; NBIA lists no sizes and hashes."""
        rows = self._client.fetch(
            self._url("getSOPInstanceUIDs"), read_rows, params={"SeriesInstanceUID": series.uid}
        )
        uids = {str(row.get("SOPInstanceUID", "")).strip() for row in rows}
        return [RemoteImage(uid=uid) for uid in sorted(uids) if is_uid(uid)]

    def receive_series(self, series: Series, sink: Sink) -> None:
        """Store the images of the series' ZIP while it arrives.

        A valid ZIP proves nothing: the server omits what it cannot read. The caller checks.
        """

        def on_slot() -> None:
            self._client.emit(PhaseChanged(series.uid, Phase.DOWNLOADING))

        for endpoint, params in self._zip_requests(series.uid):
            url = self._url(endpoint)
            try:
                with self._client.stream("GET", url, params=params, on_slot=on_slot) as response:
                    received = unpack_series(response, series, sink, self._slots)
            except StatusError as error:
                if _is_bad_request(error, "Invalid query parameter"):
                    continue
                raise _denied_as_unavailable(error, series.uid) from error
            if received:
                return

    def receive_image(self, series: Series, image: RemoteImage, sink: Sink) -> StoredImage:
        """Store one image.

        Raises:
            NotAvailableError: the server does not have it. It says so with status 500, which may
                also be a passing failure: the error is retryable.
            BadResponseError: a page or another text came instead (retryable).
        """
        params = {"SeriesInstanceUID": series.uid, "SOPInstanceUID": image.uid or ""}
        try:
            with self._client.stream("GET", self._url("getSingleImage"), params=params) as response:
                chunks = read_single_image(response, series)
                return sink.receive(chunks, source=NAME, image=image)
        except StatusError as error:
            is_server_error = error.status == HTTPStatus.INTERNAL_SERVER_ERROR
            if is_server_error and error.body.endswith("null"):
                raise NotAvailableError(
                    f"the archive does not provide image {image.uid} of series {series.uid}",
                    retryable=True,
                ) from error
            raise _denied_as_unavailable(error, series.uid) from error

    def image_md5(self, series: Series, uid: str) -> str | None:
        """The archive's MD5 of one image as it spells it; None where it has none."""
        del series
        return self._image_md5(uid)

    def has_image(self, uid: str) -> bool:
        """Whether NBIA has an image with this SOPInstanceUID; NBIA does not report its series."""
        return self._image_md5(uid) is not None

    def _image_md5(self, uid: str) -> str | None:
        if self._is_v1:
            return self._fetch_hash("getM5HashForImage", params={"SOPInstanceUid": uid})
        return self._fetch_hash("getMD5HashForImage", params={"SOPInstanceUID": uid})

    def series_md5(self, series: Series) -> str | None:
        """MD5 of the series' sorted image MD5s, as stored; None where the archive has none."""
        if self._is_v1:
            return None
        return self._fetch_hash("getMD5Hierarchy", form={"SeriesInstanceUID": series.uid})

    def _fetch_hash(self, endpoint: str, **request: Mapping[str, str]) -> str | None:
        def read(response: Response) -> str | None:
            text = response.read_all(_TEXT_LIMIT).decode("ascii", "replace").strip()
            if not _HASH.fullmatch(text):
                message = f"{response.url} sent something that is not an MD5"
                raise BadResponseError(message, retryable=True)
            return text or None

        url = self._url(endpoint)
        return self._client.fetch(url, read, limit=lambda error: _HASH_RETRIES, **request)

    def _fetch_list(
        self, url: str, read: Callable[[Response], list[T]], params: Mapping[str, str] | None = None
    ) -> list[T]:
        """Request a list; an empty one is requested again, since it may be a database error."""

        def read_some(response: Response) -> list[T]:
            rows = read(response)
            if not rows:
                raise _IncompleteListError(f"{response.url} sent an empty list", retryable=True)
            return rows

        try:
            return self._client.fetch(url, read_some, params=params, limit=self._list_limit)
        except _IncompleteListError:
            return []

    def _list_limit(self, error: ArchiveError) -> int | None:
        if isinstance(error, _IncompleteListError):
            return _INCOMPLETE_RETRIES
        return self._timeout_retries if isinstance(error, ResponseTimeoutError) else None

    def _without_foreign(self, listed: list[Series], collection: str) -> list[Series]:
        """The series of `collection`, and those without a collection, which are taken for its."""
        name = collection.strip().casefold()
        own = [
            series if series.collection else replace(series, collection=collection)
            for series in listed
            if series.collection.casefold() in ("", name)
        ]
        if len(own) < len(listed) and not self._foreign_reported:
            self._foreign_reported = True
            foreign = f"{len(listed) - len(own)} series of other collections"
            text = f"the archive's list of {collection} names {foreign}: left out"
            self._client.emit(Notice(text))
        return own

    def _list_part(self, uids: list[str]) -> list[Series]:
        if not self._is_v1:
            form = {"list": ",".join(uids), "format": "JSON"}
            try:
                url = self._url("getSeriesMetadata")
                return self._client.fetch(url, read_series, form=form, limit=self._list_limit)
            except StatusError as error:
                if error.retryable and error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
        url = self._url("getSeries")
        return [
            series
            for uid in uids
            for series in self._client.fetch(
                url, read_series, params={"SeriesInstanceUID": uid}, limit=self._list_limit
            )
        ]

    def _zip_requests(self, uid: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        """The requests for a series, best first: later ones serve older servers."""
        series = {"SeriesInstanceUID": uid}
        if not self._is_v1:
            yield "getImage", {**series, "IncludeMD5": "Yes"}
        yield "getImageWithMD5Hash", series
        yield "getImage", series

    def _url(self, endpoint: str) -> str:
        return f"{self._base}/{endpoint}"


def _is_bad_request(error: StatusError, *texts: str) -> bool:
    return error.status == HTTPStatus.BAD_REQUEST and any(text in error.body for text in texts)


def _denied_as_unavailable(error: StatusError, uid: str) -> ArchiveError:
    """The error for a series that is not public; retryable, since it may be a database error."""
    if not _is_bad_request(error, *_NOT_PUBLIC):
        return error
    return NotAvailableError(
        f"the archive does not provide series {uid}: it does not exist or is not public",
        retryable=True,
    )


def read_rows(response: Response) -> list[Row]:
    """Read a list; an empty body is an empty list. Raises as `read_series`."""
    return list(_parse(response, lambda row: row))


def read_series(response: Response) -> list[Series]:
    """Read a list of series; sorted by UID, because the server's order changes.

    Raises:
        BadResponseError: the body is not a list of series (retryable).
    """
    listed: list[Series] = []
    has_rows = False
    # Each row becomes a `Series` at once: neither the text nor all rows are ever in memory.
    for series in _parse(response, series_of):
        has_rows = True
        if series is not None:
            listed.append(series)
    if has_rows and not listed:
        raise _bad_response(response, "rows without SeriesInstanceUID")
    listed.sort(key=operator.attrgetter("uid"))
    # Of several rows of a series the last one. A dictionary by UID would take more memory.
    last = (series for series, after in pairwise(listed) if series.uid != after.uid)
    return [*last, *listed[-1:]]


def series_of(row: Row) -> Series | None:
    """Turn one row of getSeries or getSeriesMetadata into a `Series`; None if it has no UIDs."""
    texts = _texts(row)
    uid, study = texts.get("SeriesInstanceUID"), texts.get("StudyInstanceUID")
    if uid is None or study is None or not is_uid(uid) or not is_uid(study):
        return None
    return Series(
        uid=uid,
        collection=texts.get("Collection", ""),
        patient=_shared(texts, "PatientID", "PatientId") or "",
        study=intern(study),
        modality=texts.get("Modality"),
        body_part=texts.get("BodyPartExamined"),
        description=_shared(texts, "SeriesDescription"),
        number=_small_integer(texts.get("SeriesNumber")),
        date=_date(texts.get("SeriesDate")),
        study_date=_date(texts.get("StudyDate")),
        study_description=texts.get("StudyDesc", texts.get("StudyDescription")),
        manufacturer=texts.get("Manufacturer"),
        manufacturer_model=texts.get("ManufacturerModelName"),
        patient_sex=texts.get("PatientSex"),
        patient_age=_shared(texts, "PatientAge"),
        # 0 means unknown: no series is empty
        image_count=_small_integer(texts.get("ImageCount")) or None,
        size=_integer(texts.get("FileSize")) or None,
        license=texts.get("LicenseName"),
        license_url=texts.get("LicenseURI"),
        data_url=texts.get("DataDescriptionURI", texts.get("CollectionURI")),
        released=_date(texts.get("DateReleased")),
        submitted=_date(texts.get("MaxSubmissionTimestamp")) or _date(texts.get("TimeStamp")),
        third_party=texts.get("ThirdPartyAnalysis") == "YES",
    )


def _parse(response: Response, make: Callable[[Row], T]) -> Iterator[T]:
    """Parse a list while it arrives."""
    received = b""

    def chunks() -> Iterator[bytes]:
        nonlocal received
        for chunk in response.chunks(_LIST_LIMIT):
            received = received or chunk
            yield chunk

    try:
        yield from map(make, _rows(iterdecode(chunks(), "utf-8-sig")))
    except (ValueError, RecursionError) as error:
        what = f"something that is not the requested list: {excerpt(received[:400])}"
        raise _bad_response(response, what) from error


def _rows(pieces: Iterator[str]) -> Iterator[Row]:
    """Parse a JSON list of objects, one by one, or raise `ValueError`; no text is no list."""
    decode = json.JSONDecoder().raw_decode
    text, is_whole = "", False
    start = 0
    expected = _LIST_START
    while True:
        # The longest row, and what is around it.
        while not is_whole and len(text) - start < 2 * _ROW_LIMIT:
            piece = next(pieces, None)
            is_whole = piece is None
            text, start = text[start:] + (piece or ""), 0
        separator = expected.match(text, start)
        if separator is None:
            if is_whole and expected is _LIST_START and not text.strip():
                return
            raise ValueError("not a list of objects")
        start = separator.end()
        if separator["end"]:
            if text[start:].strip() or not is_whole:
                raise ValueError("not a list")
            return
        row, length = decode(text[start : start + _ROW_LIMIT])
        if not isinstance(row, dict):
            raise ValueError("not a list of objects")  # noqa: TRY004 - as JSON errors
        yield row
        start += length
        expected = _SEPARATOR


def _bad_response(response: Response, what: str) -> BadResponseError:
    return BadResponseError(
        f"{response.url} sent {what}",
        hint="the archive may be down or behind a login page; try again later",
        retryable=True,
    )


def _texts(row: Row) -> dict[str, str]:
    """The values of a row as texts, without spaces around them, and without empty ones."""
    return {
        name: text if text.isascii() else _SURROGATES.sub("\ufffd", text)
        for name, value in row.items()
        if value is not None and (text := str(value).strip())
    }


def _shared(texts: Mapping[str, str], *names: str) -> str | None:
    """Give a text that many series have: kept once, that saves two thirds of a list's memory."""
    for name in names:
        if name in texts:
            return intern(texts[name])
    return None


def _integer(text: str | None) -> int | None:
    """Parse a number that some versions send as `16357620` and others as `"16357620.000000"`."""
    if text is None:
        return None
    try:
        number = int(text) if text.isdigit() else int(float(text))
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < _MAX_NUMBER else None


_small_integer = lru_cache(maxsize=1000)(_integer)
"""For numbers that many series have: kept once."""


@lru_cache(maxsize=1000)
def _date(text: str | None) -> str | None:
    if text is None:
        return None
    if v4 := _V4_DATE.match(text):
        month, day, year = v4.groups()
        return intern(f"{year}-{month}-{day}")
    iso = _ISO_DATE.match(text)
    return intern(iso.group()) if iso else None
