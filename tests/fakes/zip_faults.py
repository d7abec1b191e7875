"""Faults in the entries of the archive's ZIPs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tests.fakes.java_zips import write_zip
from tests.fakes.nbia_faults import Fault, pieces_of
from tests.fakes.nbia_replies import Call, Entry, Reply, failure, image_entry

ZIPS = ("getImage", "getImageWithMD5Hash", "getDCMImage")
IMAGES = (*ZIPS, "getSingleImage")
TABLE = "md5hashes.csv"


@dataclass(kw_only=True)
class ZipFault(Fault):
    """Changes the entries of ZIPs; by default for all calls that return one."""

    on: str | tuple[str, ...] = field(default=ZIPS, kw_only=False)


@dataclass(kw_only=True)
class LostImage(Fault):
    """The file of image `uid` is gone on the server: the ZIP ends before it, well-formed.

    With `singly` the image can still be had by itself.
    """

    uid: str
    singly: bool = False
    on: str | tuple[str, ...] = field(default=IMAGES, kw_only=False)
    times: int | None = None

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        if call.params.get("SOPInstanceUID") == self.uid and not self.singly:
            return failure()
        return proceed()

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if entry.image and entry.image.uid == self.uid:
                return
            yield entry


@dataclass(kw_only=True)
class TruncatedImage(ZipFault):
    """Reading image `uid` fails in the middle: its entry is short with a matching CRC, the last."""

    uid: str
    keep: float = 0.5
    times: int | None = None

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if entry.image and entry.image.uid == self.uid:
                content = b"".join(entry.chunks)
                yield replace(entry, chunks=[content[: int(len(content) * self.keep)]])
                return
            yield entry


@dataclass(kw_only=True)
class AlteredImage(Fault):
    """Image `uid` arrives with other pixels under a valid CRC; by itself too if `singly`."""

    uid: str
    singly: bool = False
    on: str | tuple[str, ...] = field(default=IMAGES, kw_only=False)

    def concerns(self, call: Call) -> bool:
        asked = call.params.get("SOPInstanceUID")
        return super().concerns(call) and (asked is None or (asked == self.uid and self.singly))

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        reply = proceed()
        if call.endpoint == "getSingleImage":
            return replace(reply, body=altered(b"".join(pieces_of(reply))))
        return reply

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if entry.image and entry.image.uid == self.uid:
                yield replace(entry, chunks=[altered(b"".join(entry.chunks))])
            else:
                yield entry


@dataclass(kw_only=True)
class NoHashTable(ZipFault):
    """All images come, md5hashes.csv does not."""

    times: int | None = None

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        return (entry for entry in entries if entry.name != TABLE)


@dataclass(kw_only=True)
class WrongHashTable(ZipFault):
    """`md5hashes.csv` has other contents: `edit` gets the text and gives another."""

    edit: Callable[[str], str]
    times: int | None = None

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if entry.name == TABLE:
                text = self.edit(b"".join(entry.chunks).decode())
                yield replace(entry, chunks=[text.encode()])
            else:
                yield entry


@dataclass(kw_only=True)
class LicenseOnly(ZipFault):
    """A ZIP with nothing but LICENSE."""

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        return (entry for entry in entries if entry.name == "LICENSE")


@dataclass(kw_only=True)
class EmptyZip(ZipFault):
    """The 22 bytes of a ZIP without entries."""

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        return iter(())


@dataclass(kw_only=True)
class Renamed(ZipFault):
    """The images' entries have these names, in turn; later ones keep their own."""

    names: Sequence[str | bytes]
    times: int | None = None

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        names = iter(self.names)
        for entry in entries:
            yield replace(entry, name=next(names, entry.name)) if entry.image else entry


@dataclass(kw_only=True)
class ExtraEntry(ZipFault):
    """One entry more, before the images or (`last`) after them, before md5hashes.csv."""

    name: str | bytes
    content: bytes | Callable[[], Iterable[bytes]]
    last: bool = True
    times: int | None = None

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        content = self.content
        extra = Entry(self.name, [content] if isinstance(content, bytes) else content())
        if not self.last:
            yield extra
        for entry in entries:
            if entry.name == TABLE and self.last:
                yield extra
            yield entry


@dataclass(kw_only=True)
class Twice(ZipFault):
    """Image `uid` comes twice under different names, the second time with other bytes if so."""

    uid: str
    differs: bool = False
    times: int | None = None

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            yield entry
            if entry.image and entry.image.uid == self.uid:
                again = image_entry("99999999.dcm", entry.image)
                content = b"".join(again.chunks)
                yield replace(again, chunks=[altered(content) if self.differs else content])


def zeros(size: int) -> Callable[[], Iterable[bytes]]:
    """The content of a bomb: `size` zeros, which pack to a thousandth."""
    block = bytes(1 << 16)

    def chunks() -> Iterator[bytes]:
        for start in range(0, size, len(block)):
            yield block[: min(len(block), size - start)]

    return chunks


def altered(content: bytes) -> bytes:
    """`content` with its last byte changed: the header stays, the size too."""
    return content[:-1] + bytes([content[-1] ^ 0xFF])


def zip_bytes(*entries: Entry, level: int = 6) -> bytes:
    """A complete ZIP as NBIA writes it."""
    return b"".join(write_zip(entries, level=level))
