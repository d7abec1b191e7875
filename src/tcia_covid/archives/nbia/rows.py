"""Reading NBIA's list answers: tolerant exactly where the server is known to be odd.

Null values are absent keys, so rows of one answer differ in their keys; "no rows" is an empty
body; v1 and v4 name some columns differently and write dates in different ways.
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

LIST_LIMIT = 256 * 1024 * 1024
"""Bytes. A series takes about 900: TCIA's largest collection, NLST, has 203,000; others have
25,000 at most."""
_ROW_LIMIT = 16 * 1024
"""Characters of one row, ten times those of a long one: JSON made to hurt takes up to 30 times
its length in memory, so none is read at one go that is longer."""
_BEYOND_BELIEF = 10**15
"""A petabyte, or so many images, is in no series: what a row says of them is wrong."""
Row = Mapping[str, Any]
T = TypeVar("T")
_BEHIND_ROW = re.compile(r"\s*(?:,\s*(?!\])|(?=\]\Z))")
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")
"""What JSON can escape, and no file and no terminal takes."""
_V4_DATE = re.compile(r"(\d\d)-(\d\d)-(\d{4})")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def read_rows(answer: Response) -> list[Row]:
    """Read a list answer; an empty body is an empty list.

    Raises:
        BadAnswerError: the body is no JSON list of objects (retryable).
    """
    return _parse(answer, lambda row: row)


def read_series(answer: Response) -> list[Series]:
    """Read a list of series, sorted by UID: the server's order changes from call to call.

    Each row becomes a `Series` while it is parsed, so that a list of 18,000 rows never stands in
    memory as dictionaries.

    Raises:
        BadAnswerError: the body is no list of series (retryable).
    """
    rows = _parse(answer, series_of)
    found = {row.uid: row for row in rows if row is not None}
    if rows and not found:
        raise _bad(answer, "rows without SeriesInstanceUID", b"")
    return [found[uid] for uid in sorted(found)]


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
        number=_whole(row, "SeriesNumber"),
        date=_date(row, "SeriesDate"),
        study_date=_date(row, "StudyDate"),
        study_description=_text(row, "StudyDesc", "StudyDescription"),
        manufacturer=_text(row, "Manufacturer"),
        manufacturer_model=_text(row, "ManufacturerModelName"),
        image_count=_whole(row, "ImageCount") or None,  # none has no image: it is not on record
        size=_whole(row, "FileSize") or None,
        license=_text(row, "LicenseName"),
        license_url=_text(row, "LicenseURI"),
        data_url=_text(row, "DataDescriptionURI", "CollectionURI"),
        released=_date(row, "DateReleased"),
        submitted=_date(row, "MaxSubmissionTimestamp") or _date(row, "TimeStamp"),
        third_party=_text(row, "ThirdPartyAnalysis") == "YES",
    )


def _parse(answer: Response, make: Callable[[Row], T]) -> list[T]:
    body = answer.read_all(LIST_LIMIT)
    if not body.strip():
        return []
    head = body[:400]
    try:
        text = body.decode("utf-8-sig")
        del body
        return [make(row) for row in _rows(text)]
    except (ValueError, RecursionError) as error:
        raise _bad(answer, "something that is not the list asked for", head) from error


def _rows(text: str) -> Iterator[Row]:
    """The objects of a JSON list, one by one.

    Raises:
        ValueError: it is no such list.
    """
    decode = json.JSONDecoder().raw_decode
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError("no list")
    at = len(text) - len(text[1:].lstrip())
    while at < len(text) - 1:
        row, length = decode(text[at : at + _ROW_LIMIT])
        behind = _BEHIND_ROW.match(text, at + length)
        if behind is None or not isinstance(row, dict):
            raise ValueError("no list of objects")
        yield row
        at = behind.end()


def _bad(answer: Response, what: str, head: bytes) -> BadResponseError:
    said = f": {excerpt(head)}" if head else ""
    return BadResponseError(
        f"{answer.url} answered with {what}{said}",
        hint="the archive may be down or behind a login page; try again later",
        retryable=True,
    )


def _text(row: Row, *names: str) -> str | None:
    for name in names:
        value = row.get(name)
        if value is not None and (text := str(value).strip()):
            return text if text.isascii() else _HALF_CHARACTER.sub("\ufffd", text)
    return None


def _whole(row: Row, name: str) -> int | None:
    """Read a number that some versions send as `16357620` and others as `"16357620.000000"`."""
    text = _text(row, name)
    if text is None:
        return None
    try:
        number = int(text) if text.isdigit() else int(float(text))
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < _BEYOND_BELIEF else None


def _date(row: Row, name: str) -> str | None:
    text = _text(row, name) or ""
    if v4 := _V4_DATE.match(text):
        month, day, year = v4.groups()
        return f"{year}-{month}-{day}"
    iso = _ISO_DATE.match(text)
    return iso.group() if iso else None
