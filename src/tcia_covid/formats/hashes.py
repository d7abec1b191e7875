"""Hashes of files, and `md5hashes.csv`: the list of hashes that NBIA puts last into a ZIP."""

from __future__ import annotations

import hashlib
import re
from io import FileIO
from pathlib import Path
from typing import Literal

from tcia_covid.core.errors import BadResponseError
from tcia_covid.core.files import open_regular

MD5_LIST_NAME = "md5hashes.csv"
_HEADER = "Filename,MD5Hash"
_MD5_DIGITS = 32
_HASH = re.compile(rf"[0-9A-Fa-f]{{1,{_MD5_DIGITS}}}")
_BLOCK_SIZE = 256 * 1024


def hash_file(path: Path, algorithm: Literal["md5", "sha256"]) -> tuple[int, str]:
    """Return the size of a file and its hash in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    size = 0
    with FileIO(path, opener=open_regular) as file:
        while block := file.read(_BLOCK_SIZE):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def parse_md5_list(data: bytes) -> dict[str, str]:
    """Read the list: entry name → MD5 in the archive's spelling, or empty where it has none.

    The archive writes fields without quotes. For a missing hash it writes `null`, a blank or other
    words. It may omit leading zeros (see `same_md5`).

    Raises:
        BadResponseError: it is not such a list, or has two hashes for one name.
    """
    try:
        text = data.decode("utf-8-sig") or _HEADER
    except UnicodeDecodeError as error:
        raise _invalid("is not text") from error
    header, *lines = text.replace("\r\n", "\n").split("\n")
    if header.strip() != _HEADER:
        raise _invalid(f"does not begin with '{_HEADER}'")
    hashes: dict[str, str] = {}
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        name, comma, md5 = line.rpartition(",")
        if not comma or not name:
            raise _invalid(f"has no name and hash in line {number}")
        md5 = md5 if _HASH.fullmatch(md5.strip()) else ""
        if hashes.setdefault(name, md5) != md5:
            raise _invalid(f"has two hashes for one name, in line {number}")
    return hashes


def same_md5(stored: str, computed: str) -> bool:
    """Whether an archive's spelling of an MD5 equals 32 computed digits.

    Leading zeros may be missing: RSNA's CTP wrote hashes as plain numbers.
    """
    return stored.strip().lower().zfill(_MD5_DIGITS) == computed.strip().lower()


def _invalid(reason: str) -> BadResponseError:
    return BadResponseError(
        f"{MD5_LIST_NAME} {reason}", hint="the series is requested again", retryable=True
    )
