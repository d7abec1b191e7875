"""`md5hashes.csv`, the list of image hashes that NBIA puts last into a series' ZIP."""

from __future__ import annotations

import re

from tcia_covid.core.errors import BadResponseError

MD5_LIST_NAME = "md5hashes.csv"
_HEADER = "Filename,MD5Hash"
_MD5_DIGITS = 32
_HASH = re.compile(rf"[0-9A-Fa-f]{{1,{_MD5_DIGITS}}}")


def parse_md5_list(data: bytes) -> dict[str, str]:
    """Read the list: entry name → MD5 as the archive spells it, or nothing where it has none.

    The archive writes fields without quotes, and `null`, a blank or other words for a hash it
    lacks; it may leave leading zeros out (see `same_md5`).

    Raises:
        BadAnswerError: it is not such a list, or gives two hashes for one name.
    """
    try:
        text = data.decode("utf-8-sig") or _HEADER
    except UnicodeDecodeError as error:
        raise _bad("is not text") from error
    header, *lines = text.replace("\r\n", "\n").split("\n")
    if header.strip() != _HEADER:
        raise _bad(f"does not begin with '{_HEADER}'")
    hashes: dict[str, str] = {}
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        name, comma, md5 = line.rpartition(",")
        if not comma or not name:
            raise _bad(f"has no name and hash in line {number}")
        md5 = md5 if _HASH.fullmatch(md5.strip()) else ""
        if hashes.setdefault(name, md5) != md5:
            raise _bad(f"has two hashes for one name, in line {number}")
    return hashes


def same_md5(stored: str, computed: str) -> bool:
    """Whether an archive's spelling of an MD5 means the same as 32 computed digits.

    Leading zeros may lack: what came through RSNA's CTP was written as a plain number.
    """
    return stored.strip().lower().zfill(_MD5_DIGITS) == computed.strip().lower()


def _bad(what: str) -> BadResponseError:
    return BadResponseError(
        f"{MD5_LIST_NAME} {what}", hint="the series is asked for again", retryable=True
    )
