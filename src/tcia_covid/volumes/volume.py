"""Reading a volume to its end: gzip's own check, the header's promise, the file's hashes."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from io import BufferedIOBase, FileIO
from pathlib import Path

from tcia_covid.errors import ChecksumError, ForeignImageError
from tcia_covid.volumes.header import HEADER_SIZE, NiftiHeader, read_header

_PIECE = 256 * 1024
_SLACK = 64 * 1024
"""Bytes behind the last voxel that are let pass: some programs pad their files."""
_GZIP = b"\x1f\x8b"
OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Volume:
    """A sound volume on disk."""

    path: Path
    size: int
    """Bytes of the file, compressed."""
    digests: dict[str, str]
    """Of the file, by algorithm; MD5 is always there."""
    header: NiftiHeader
    modified: int
    """When it was last changed, in nanoseconds as the file system counts them."""

    @property
    def md5(self) -> str:
        """32 hex digits, of the file's bytes."""
        return self.digests["md5"]

    @property
    def is_unchanged(self) -> bool:
        """Whether the file has the size and the time that it had when it was read.

        Raises:
            OSError: it is gone.
        """
        status = self.path.stat()
        return (status.st_size, status.st_mtime_ns) == (self.size, self.modified)


def read_volume(
    path: Path, *, algorithms: Collection[str] = (), on_bytes: OnBytes = lambda count: None
) -> Volume:
    """Read a `.nii.gz` to its end, in pieces; only what is sound is returned.

    The gzip stream has to be whole, with the CRC and the length that it ends in, and to hold
    what its NIfTI-1 header promises.

    Args:
        path: the file.
        algorithms: hashes to compute beside MD5, as `hashlib` names them.
        on_bytes: hears of bytes of the file that were read; what it raises ends the reading.

    Raises:
        ForeignImageError: it is no gzip file, or no NIfTI-1 volume.
        ChecksumError: it is cut or damaged.
        OSError: it cannot be read.
    """
    with FileIO(path) as file:
        hashed = _Hashed(file, {"md5", *algorithms}, on_bytes)
        try:
            with gzip.GzipFile(fileobj=hashed, mode="rb") as stream:
                header = _read_through(stream, path.name)
        except gzip.BadGzipFile as error:
            raise _bad_gzip(path.name, str(error), hashed) from error
        except EOFError as error:
            raise ChecksumError(f"{path.name} is cut: its gzip stream has no end") from error
        except zlib.error as error:
            raise ChecksumError(f"{path.name} is damaged: its gzip stream is broken") from error
        status = os.fstat(file.fileno())
    if hashed.size != status.st_size:
        raise ChecksumError(f"{path.name} changed while it was read")
    return Volume(path, hashed.size, hashed.hexdigests(), header, status.st_mtime_ns)


class _Hashed(BufferedIOBase):
    """A file that is hashed while it is read, once, front to back."""

    def __init__(self, file: FileIO, algorithms: Collection[str], on_bytes: OnBytes) -> None:
        self._file = file
        self._digests = {
            name: hashlib.new(name, usedforsecurity=False) for name in sorted(algorithms)
        }
        self._on_bytes = on_bytes
        self.size = 0
        self.first = b""
        """The first bytes."""

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes."""
        data = self._file.read(min(size, _PIECE) if size is not None and size >= 0 else _PIECE)
        for digest in self._digests.values():
            digest.update(data)
        self.first = self.first or data[:2]
        self.size += len(data)
        self._on_bytes(len(data))
        return data

    def hexdigests(self) -> dict[str, str]:
        """The hashes of what was read."""
        return {name: digest.hexdigest() for name, digest in self._digests.items()}


def _read_through(stream: gzip.GzipFile, name: str) -> NiftiHeader:
    head = stream.read(HEADER_SIZE)
    if len(head) < HEADER_SIZE:
        raise ForeignImageError(f"{name} has no NIfTI-1 header: it holds {len(head)} bytes")
    header = read_header(head, name)
    size = len(head)
    while data := stream.read(_PIECE):
        size += len(data)
        if size > header.size + _SLACK:
            raise ForeignImageError(
                f"{name} holds far more than the {header.size} bytes that its header promises"
            )
    if size < header.size:
        raise ChecksumError(
            f"{name} is cut: it holds {size} of the {header.size} bytes that its header promises"
        )
    return header


def _bad_gzip(name: str, why: str, hashed: _Hashed) -> ForeignImageError | ChecksumError:
    """Tell what is no gzip file at all from one that is damaged."""
    if hashed.first != _GZIP:
        return ForeignImageError(f"{name} is no gzip file")
    return ChecksumError(f"{name} is damaged: {why}")
