"""Hashes of files, ETags of S3, and `md5hashes.csv`, which NBIA puts last into a ZIP."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
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
_MULTIPART_ETAG = re.compile(rf"[0-9a-f]{{{_MD5_DIGITS}}}-([1-9][0-9]{{0,4}})")
_PART_SIZES = (5, 6, 7, 8, 10, 12, 15, 16, 20, 24, 25, 30, 32, 40, 48, 50, 60, 64, 80, 100, 128)
"""Sizes that upload programs use, in 2**20 or 10**6 bytes."""
_MORE_PART_SIZES = 16
"""Numbers of megabytes to try, from that of equal parts on; each reads the whole file."""


def hash_file(
    path: str | Path,
    algorithm: Literal["md5", "sha256"],
    *,
    buffer: memoryview | None = None,
    on_block: Callable[[], None] = lambda: None,
) -> tuple[int, str]:
    """Return the size of a file and its hash in hexadecimal digits.

    Args:
        path: the file.
        algorithm: the hash.
        buffer: used to read, by whoever hashes many files; making one takes time.
        on_block: called after each block; what it raises ends the reading.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    size, buffer = 0, buffer or new_buffer()
    with FileIO(path, opener=open_regular) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            size += count
            on_block()
    return size, digest.hexdigest()


def has_content(
    path: Path, size: int, digest: str, algorithm: Literal["md5", "sha256"] = "md5"
) -> bool:
    """Whether a file can be read and has these bytes."""
    try:
        is_candidate = path.is_file() and path.stat().st_size == size
        return is_candidate and hash_file(path, algorithm) == (size, digest)
    except OSError:
        return False


def new_buffer() -> memoryview:
    """A buffer for `hash_file`."""
    return memoryview(bytearray(_BLOCK_SIZE))


def parts_of_etag(etag: str | None) -> int | None:
    """The number of parts that an object was uploaded in; None if the ETag does not say."""
    match = _MULTIPART_ETAG.fullmatch(etag or "")
    return int(match[1]) if match else None


def multipart_etags(path: Path, parts: int) -> frozenset[str]:
    """The ETags that S3 may give a file that is uploaded in `parts` parts, one per part size.

    Such an ETag is the MD5 over the MD5s of the parts. It does not contain their sizes: the
    usual sizes, equal parts, and for small files all multiples of a megabyte are tried.
    """
    size = path.stat().st_size
    equal = -(-size // parts)
    units = (2**20, 10**6)
    part_sizes = {number * unit for number in _PART_SIZES for unit in units}
    part_sizes |= {equal}
    for unit in units:
        first = -(-equal // unit)
        part_sizes |= {number * unit for number in range(first, first + _MORE_PART_SIZES)}
    return frozenset(
        _multipart_etag(path, part_size, parts)
        for part_size in part_sizes
        if part_size and -(-size // part_size) == parts
    )


def _multipart_etag(path: Path, part_size: int, parts: int) -> str:
    whole = hashlib.md5(usedforsecurity=False)
    with path.open("rb", buffering=0) as file:
        for _ in range(parts):
            part, left = hashlib.md5(usedforsecurity=False), part_size
            while left and (block := file.read(min(left, _BLOCK_SIZE))):
                part.update(block)
                left -= len(block)
            whole.update(part.digest())
    return f"{whole.hexdigest()}-{parts}"


def parse_md5_list(data: bytes) -> dict[str, str]:
    """Read the list: entry name → MD5 in the archive's spelling, or empty where it has none.

    The archive writes fields without quotes. For a missing hash it writes `null`, a space or other
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
