"""Whether what a server sends is of the kind that a file's name promises."""

from __future__ import annotations

from tcia_covid.errors import BadAnswerError
from tcia_covid.redact import excerpt

ENOUGH = 512
"""Bytes that are looked at."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_BEGINNINGS = {
    **dict.fromkeys((".xlsx", ".docx", ".pptx", ".zip"), _ZIP),
    **dict.fromkeys((".xls", ".doc"), (b"\xd0\xcf\x11\xe0",)),
    ".pdf": (b"%PDF",),
    ".gz": (b"\x1f\x8b",),
}
_TEXTS = (".csv", ".tsv", ".txt", ".tcia", ".json", ".xml")
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<script", b"<body")


def check_content(head: bytes, name: str, where: str) -> None:
    """Look at the first bytes of a file before any of it is kept.

    Args:
        head: its first bytes, `ENOUGH` of them or all.
        name: the file's name.
        where: its address, without secrets.

    Raises:
        BadAnswerError: it is an error page, or of another kind than its name says (retryable).
    """
    ending = f".{name.lower().rpartition('.')[2]}"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_PAGES) and ending not in (".html", ".htm"):
        raise _other(where, "a web page", head)
    beginnings = _BEGINNINGS.get(ending)
    if beginnings is not None and not head.startswith(beginnings):
        raise _other(where, f"something that is no {ending} file", head)
    if ending in _TEXTS and b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _other(where, "something that is no text", head)
    if ending == ".json" and start[:1] not in (b"{", b"[", b'"', b""):
        raise _other(where, "something that is no JSON", head)
    if not head:
        raise _other(where, "nothing", head)


def _other(where: str, what: str, head: bytes) -> BadAnswerError:
    said = excerpt(head[:ENOUGH])
    return BadAnswerError(
        f"{where} answered with {what}{f' ({said})' if said else ''}",
        hint="the file may have moved: look at the collection's page",
        retryable=True,
    )
