"""Recognizes files by their first bytes, for messages about files of a wrong type."""

from __future__ import annotations

import re

HEAD_SIZE = 4096
"""Bytes at the beginning of a file that are enough."""
DICOM = "a DICOM file"
_HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<script", b"<body")
_LOGIN = re.compile(rb"type\s*=\s*[\"']?password|\b(?:log|sign)[ -]?in\b", re.IGNORECASE)
_MAIL_START = re.compile(
    rb"(?:From|To|Subject|Date|Received|Return-Path|Message-ID|MIME-Version|X-[\w-]+): ",
    re.IGNORECASE,
)
_MAIL_FIELD = re.compile(rb"^(?:Subject|Message-ID|MIME-Version): ", re.IGNORECASE | re.MULTILINE)
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", "a PDF document"),
    (128, b"DICM", DICOM),
    (0, b"\xd0\xcf\x11\xe0", "an old Office document (.xls or .doc)"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"\xfd7zXZ", "an xz file"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (0, b"SQLite format 3", "an SQLite database"),
    (257, b"ustar", "a tar archive"),
    (0, b"{\\rtf", "an RTF document"),
)
"""Offset, bytes, name."""


def is_web_page(head: bytes) -> bool:
    """Whether a file that begins with `head` is HTML."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_HTML_STARTS)


def describe(head: bytes) -> str:
    """The type of a file that begins with `head`; empty if it may be text, ZIP or gzip."""
    if is_web_page(head):
        return "a login page" if _LOGIN.search(head) else "a web page (HTML)"
    if _MAIL_START.match(head) and _MAIL_FIELD.search(head):
        return "a saved e-mail"
    return next(
        (
            name
            for offset, signature, name in _SIGNATURES
            if head[offset : offset + len(signature)] == signature
        ),
        "",
    )
