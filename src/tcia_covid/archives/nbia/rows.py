"""Parsing NBIA's lists.

A null value is an absent key, so rows of one list differ in their keys; "no rows" is an empty
body; v1 and v4 have different names for some columns and different date formats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from tcia_covid.core.errors import BadResponseError
from tcia_covid.core.models import Series
from tcia_covid.core.redaction import excerpt
from tcia_covid.core.safe_names import is_uid
from tcia_covid.http.response import Response

_LIST_LIMIT = 256 * 1024 * 1024
"""Bytes. A series takes about 900: TCIA's largest collection, NLST, has 203,000; others have
25,000 at most."""
_ROW_LIMIT = 16 * 1024
"""Characters of one row, ten times those of a long one: hostile JSON takes up to 30 times its
length in memory, so no longer piece is parsed at once."""
_MAX_NUMBER = 10**15
"""No series has a petabyte, or so many images: such a number is an error."""
Row = Mapping[str, Any]
T = TypeVar("T")
_SEPARATOR = re.compile(r"\s*(?:,\s*(?!\])|(?=\]\Z))")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
"""JSON can escape them; files and terminals cannot represent them."""
_V4_DATE = re.compile(r"(\d\d)-(\d\d)-(\d{4})")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def read_rows(response: Response) -> list[Row]:
    """Read a list; an empty body is an empty list.

    Raises:
        BadResponseError: the body is not a JSON list of objects (retryable).
    """
    return _parse(response, lambda row: row)


def read_series(response: Response) -> list[Series]:
    """Read a list of series; sorted by UID, because the server's order changes.

    Each row becomes a `Series` while it is parsed, so that a list of 18,000 rows is never in
    memory as dictionaries.

    Raises:
        BadResponseError: the body is not a list of series (retryable).
    """
    rows = _parse(response, series_of)
    by_uid = {row.uid: row for row in rows if row is not None}
    if rows and not by_uid:
        raise _bad_response(response, "rows without SeriesInstanceUID", b"")
    return [by_uid[uid] for uid in sorted(by_uid)]


def series_of(row: Row) -> Series | None:
    """Turn one row of getSeries or getSeriesMetadata into a `Series`; None if it has no UIDs."""
    uid, study = _text(row, "SeriesInstanceUID"), _text(row, "StudyInstanceUID")
    if uid is None or study is None or not is_uid(uid) or not is_uid(study):
        return None
    return Series(
        uid=uid,
        collection=_text(row, "Collection") or "",
        patient=_text(row, "PatientID", "PatientId") or "",
        study=study,
        modality=_text(row, "Modality"),
        body_part=_text(row, "BodyPartExamined"),
        description=_text(row, "SeriesDescription"),
        number=_integer(row, "SeriesNumber"),
        date=_date(row, "SeriesDate"),
        study_date=_date(row, "StudyDate"),
        study_description=_text(row, "StudyDesc", "StudyDescription"),
        manufacturer=_text(row, "Manufacturer"),
        manufacturer_model=_text(row, "ManufacturerModelName"),
        image_count=_integer(row, "ImageCount") or None,  # 0 means unknown: no series is empty
        size=_integer(row, "FileSize") or None,
        license=_text(row, "LicenseName"),
        license_url=_text(row, "LicenseURI"),
        data_url=_text(row, "DataDescriptionURI", "CollectionURI"),
        released=_date(row, "DateReleased"),
        submitted=_date(row, "MaxSubmissionTimestamp") or _date(row, "TimeStamp"),
        third_party=_text(row, "ThirdPartyAnalysis") == "YES",
    )


def _parse(response: Response, make: Callable[[Row], T]) -> list[T]:
    body = response.read_all(_LIST_LIMIT)
    if not body.strip():
        return []
    head = body[:400]
    try:
        text = body.decode("utf-8-sig")
        del body
        return [make(row) for row in _rows(text)]
    except (ValueError, RecursionError) as error:
        raise _bad_response(response, "something that is not the requested list", head) from error


def _rows(text: str) -> Iterator[Row]:
    """Parse a JSON list of objects, one by one.

    Raises:
        ValueError: it is something else.
    """
    decode = json.JSONDecoder().raw_decode
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError("not a list")
    start = len(text) - len(text[1:].lstrip())
    while start < len(text) - 1:
        row, length = decode(text[start : start + _ROW_LIMIT])
        separator = _SEPARATOR.match(text, start + length)
        if separator is None or not isinstance(row, dict):
            raise ValueError("not a list of objects")
        yield row
        start = separator.end()


def _bad_response(response: Response, what: str, head: bytes) -> BadResponseError:
    return BadResponseError(
        f"{response.url} sent {what}{f': {excerpt(head)}' if head else ''}",
        hint="the archive may be down or behind a login page; try again later",
        retryable=True,
    )


def _text(row: Row, *names: str) -> str | None:
    for name in names:
        value = row.get(name)
        if value is not None and (text := str(value).strip()):
            return text if text.isascii() else _SURROGATES.sub("\ufffd", text)
    return None


def _integer(row: Row, name: str) -> int | None:
    """Parse a number that some versions send as `16357620` and others as `"16357620.000000"`."""
    text = _text(row, name)
    if text is None:
        return None
    try:
        number = int(text) if text.isdigit() else int(float(text))
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < _MAX_NUMBER else None


def _date(row: Row, name: str) -> str | None:
    text = _text(row, name) or ""
    if v4 := _V4_DATE.match(text):
        month, day, year = v4.groups()
        return f"{year}-{month}-{day}"
    iso = _ISO_DATE.match(text)
    return iso.group() if iso else None
