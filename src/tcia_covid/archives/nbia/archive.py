"""NBIA behind the archive protocol: lists, series as ZIP streams, single images, hashes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from tcia_covid.archives.base import Sink
from tcia_covid.archives.nbia.rows import read_rows, read_series
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
from tcia_covid.core.events import Notice
from tcia_covid.core.models import RemoteImage, Series, StoredImage
from tcia_covid.core.safe_names import is_uid
from tcia_covid.core.settings import DEFAULT_NBIA_URL, check_nbia_url
from tcia_covid.http.client import Client
from tcia_covid.http.response import Response

_UIDS_A_REQUEST = 1000
_SMALL_TEXT = 16 * 1024 * 1024
T = TypeVar("T")
_NOT_GRANTED = ("not been granted", "not in public domain")
_TURNS = 3
"""How often a list is asked for where nothing but a hiccup would explain what it lacks."""


class NbiaArchive:
    """One NBIA server.

    Args:
        client: speaks HTTP with it.
        base_url: ends in the API's version; v4 unless it ends in `/v1`.
        silences: how often a list is asked for again after silence; None to be as patient as the
            client.
    """

    name = NAME
    skips_known = False
    of_record = True

    def __init__(
        self, client: Client, base_url: str = DEFAULT_NBIA_URL, *, silences: int | None = None
    ) -> None:
        self._client = client
        self._unpacking = UnpackSlots()
        self._silences = silences
        check_nbia_url(base_url)
        self._strangers_told = False
        self._base = base_url.rstrip("/")
        self._v1 = self._base.endswith("/v1")

    def collections(self) -> list[str]:
        """The names of all public collections, as the archive spells them.

        Raises:
            NotAvailableError: the answer stayed empty.
        """
        rows = self._ask_for_some(self._url("getCollectionValues"), read_rows)
        if not rows:
            raise NotAvailableError("the archive lists no collection", hint="try again later")
        return sorted({str(row["Collection"]) for row in rows if row.get("Collection")})

    def holds(self, series: Series) -> bool:
        """NBIA may have any series."""
        del series
        return True

    def list_collection(self, collection: str) -> list[Series]:
        """Every series of `collection`; those of others, which some servers add, are left out.

        Raises:
            NotAvailableError: the answer stayed empty.
        """

        def read(answer: Response) -> list[Series]:
            return self._without_strangers(read_series(answer), collection)

        params = {"Collection": collection}
        if series := self._ask_for_some(self._url("getSeries"), read, params):
            return series
        raise NotAvailableError(
            f"the archive lists no series of collection {collection!r}",
            hint="check the name with 'tcia-covid list'; if it is right, try again later",
        )

    def list_series(self, uids: Iterable[str]) -> list[Series]:
        """The series with these UIDs, sorted; unknown ones are absent.

        Those that an answer lacks, as it may after a hiccup, are asked for again.
        """
        wanted = missing = sorted(set(uids))
        found: dict[str, Series] = {}
        for _ in self._turns() if wanted else ():
            for start in range(0, len(missing), _UIDS_A_REQUEST):
                part = missing[start : start + _UIDS_A_REQUEST]
                found.update((series.uid, series) for series in self._list_part(part))
            missing = [uid for uid in missing if uid not in found]
            if not missing:
                break
        return [found[uid] for uid in wanted if uid in found]

    def shared_cart(self, name: str) -> list[str]:
        """The SeriesInstanceUIDs of a shared cart; v1 alone knows them."""
        base = f"{self._base.removesuffix('/v4')}/v1" if self._base.endswith("/v4") else self._base
        rows = self._ask_for_some(f"{base}/getContentsByName", read_rows, {"name": name})
        return sorted({str(row.get("SeriesInstanceUID", "")).strip() for row in rows} - {""})

    def images(self, series: Series) -> list[RemoteImage]:
        """The UIDs of the images of `series`; sizes and hashes are not listed by NBIA."""
        rows = self._client.fetch(
            self._url("getSOPInstanceUIDs"), read_rows, params={"SeriesInstanceUID": series.uid}
        )
        uids = {str(row.get("SOPInstanceUID", "")).strip() for row in rows}
        return [RemoteImage(uid=uid) for uid in sorted(uids) if is_uid(uid)]

    def receive_series(self, series: Series, sink: Sink) -> None:
        """Pour the series' ZIP into `sink` while it arrives.

        A ZIP that ends well proves nothing: the server leaves out what it cannot read. What did
        arrive is judged by the caller.
        """
        for endpoint, params in self._zip_requests(series.uid):
            try:
                with self._client.stream("GET", self._url(endpoint), params=params) as answer:
                    received = unpack_series(answer, series, sink, self._unpacking)
            except StatusError as error:
                if _unknown_parameter(error):
                    continue
                raise _not_granted(error, series.uid) from error
            if received:
                return

    def receive_image(self, series: Series, image: RemoteImage, sink: Sink) -> StoredImage:
        """Pour one image into `sink`.

        Raises:
            NotAvailableError: the server does not have it. It says so with status 500, which may
                also be a hiccup: the error is retryable.
            BadAnswerError: a page or another text came in its place (retryable).
        """
        params = {"SeriesInstanceUID": series.uid, "SOPInstanceUID": image.uid or ""}
        try:
            with self._client.stream("GET", self._url("getSingleImage"), params=params) as answer:
                return sink.receive(read_single_image(answer, series), source=NAME, image=image)
        except StatusError as error:
            if error.status == 500 and error.body.endswith("null"):  # noqa: PLR2004
                raise NotAvailableError(
                    f"the archive does not give image {image.uid} of series {series.uid}",
                    retryable=True,
                ) from error
            raise _not_granted(error, series.uid) from error

    def image_md5(self, series: Series, uid: str) -> str | None:
        """The archive's MD5 of one image as it spells it; None where it has none."""
        del series
        if self._v1:
            name, params = "getM5HashForImage", {"SOPInstanceUid": uid}
        else:
            name, params = "getMD5HashForImage", {"SOPInstanceUID": uid}
        return self._client.fetch(self._url(name), _read_hash, params=params, limit=_few)

    def series_md5(self, series: Series) -> str | None:
        """MD5 of the series' sorted image MD5s, as stored; None where the archive has none."""
        if self._v1:
            return None
        form = {"SeriesInstanceUID": series.uid}
        return self._client.fetch(self._url("getMD5Hierarchy"), _read_hash, form=form, limit=_few)

    def _ask_for_some(
        self, url: str, read: Callable[[Response], list[T]], params: Mapping[str, str] | None = None
    ) -> list[T]:
        """Ask until there is something: an empty answer can be a hiccup of NBIA's database."""
        for _ in self._turns():
            if rows := self._client.fetch(url, read, params=params, limit=self._list_limit):
                return rows
        return []

    def _list_limit(self, error: ArchiveError) -> int | None:
        return self._silences if isinstance(error, ResponseTimeoutError) else None

    def _without_strangers(self, listed: list[Series], collection: str) -> list[Series]:
        """The series of `collection`, and those of none, which are taken for its own."""
        name = collection.strip().casefold()
        own = [
            one if one.collection else replace(one, collection=collection)
            for one in listed
            if one.collection.casefold() in ("", name)
        ]
        if len(own) < len(listed) and not self._strangers_told:
            self._strangers_told = True
            strangers = f"{len(listed) - len(own)} series of other collections"
            self._client.emit(
                Notice(f"the archive's list of {collection} names {strangers}: left out")
            )
        return own

    def _turns(self) -> Iterator[int]:
        """Count a few turns of asking, with a growing pause before each but the first."""
        settings = self._client.settings
        for turn in range(_TURNS):
            if turn:
                ceiling = min(settings.retry_wait_cap, settings.retry_wait * 2 ** (turn - 1))
                self._client.stop.wait(random.uniform(ceiling / 2, ceiling))
            yield turn

    def _list_part(self, uids: list[str]) -> list[Series]:
        if not self._v1:
            form = {"list": ",".join(uids), "format": "JSON"}
            try:
                url = self._url("getSeriesMetadata")
                return self._client.fetch(url, read_series, form=form, limit=self._list_limit)
            except StatusError as error:
                if error.retryable and error.status != 500:  # noqa: PLR2004
                    raise
        return [series for uid in uids for series in self._list_one(uid)]

    def _list_one(self, uid: str) -> list[Series]:
        url, params = self._url("getSeries"), {"SeriesInstanceUID": uid}
        return self._client.fetch(url, read_series, params=params, limit=self._list_limit)

    def _zip_requests(self, uid: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        """The ways to ask for a series, best first: later ones serve older servers."""
        series = {"SeriesInstanceUID": uid}
        if not self._v1:
            yield "getImage", {**series, "IncludeMD5": "Yes"}
        yield "getImageWithMD5Hash", series
        yield "getImage", series

    def _url(self, endpoint: str) -> str:
        return f"{self._base}/{endpoint}"


def _read_hash(answer: Response) -> str | None:
    text = answer.read_all(_SMALL_TEXT).decode("ascii", "replace").strip()
    if not text:
        return None
    if len(text) > 32 or not all(c in "0123456789abcdefABCDEF" for c in text):  # noqa: PLR2004
        raise BadResponseError(
            f"{answer.url} answered with something that is no MD5", retryable=True
        )
    return text


def _few(error: ArchiveError) -> int:
    """Hashes can be done without, where the archive does not give them: ask twice more."""
    del error
    return 2


def _unknown_parameter(error: StatusError) -> bool:
    return error.status == 400 and "Invalid query parameter" in error.body  # noqa: PLR2004


def _not_granted(error: StatusError, uid: str) -> ArchiveError:
    """Tell "this series is not public" from other errors; it can be a hiccup of the database."""
    if error.status == 400 and any(words in error.body for words in _NOT_GRANTED):  # noqa: PLR2004
        return NotAvailableError(
            f"the archive does not give series {uid}: not there, or not public",
            retryable=True,
        )
    return error
