"""Removes credentials and control characters from text that is shown or stored."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_UNREADABLE = "(unreadable URL)"
# Greedy up to the last "@": a password may contain an "@" or "/" that is not encoded.
# Without "://" it begins a word and is not a drive: paths may contain ":" and "@", too.
_USERINFO = re.compile(
    r"""(?<=://)[^\s'"<>]*@
    | (?<=//)[^\s'"<>/]*@
    | (?<![\w./\\~+-])(?![A-Za-z]:[/\\])[^\s'"<>:/]+:[^\s'"<>]*@""",
    re.VERBOSE,
)
_QUERY = re.compile(
    r"""(://[^\s'"<>?]* | (?<![^\s'"(:])/[^\s'"<>?]*(?=\?[^\s?=]+=))\?[^\s'"<>)]+""", re.VERBOSE
)
"""A query: of a URL, or of an address without its host, which has a name and a value."""
_HEADER = re.compile(r"(?i)\b(authorization)\b['\"]?\s*[:=]\s*['\"]?(?:\w+\s+)?[^\s'\"]+")
_NAMED = re.compile(
    r"(?i)(?<![\w-])([\w-]{0,40}(?:token|passw(?:or)?d|pwd|secret|api[_-]?key|signature|credential)"
    r"[\w-]{0,40}[\\'\"]*\s*[:=]\s*)(?!…)\\*(?:\"[^\"]*\"?|'[^']*'?|[^\s'\"&<>]+)"
)
"""A name that indicates a credential, and its value: in forms, JSON and plain text."""


def redact(url: str) -> str:
    """Remove user, password, query and fragment from a URL."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return _UNREADABLE
    if "@" in parts.path:
        # Without "//", or with an unencoded "/" in the password, the password is in the path.
        return _UNREADABLE
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def scrub(text: str) -> str:
    """Remove credentials, and the user information and queries of URLs, from a text."""
    text = _USERINFO.sub("", text)
    text = _HEADER.sub(r"\1: …", _QUERY.sub(r"\1?…", text))
    return _NAMED.sub(r"\1…", text)


def excerpt(body: bytes, limit: int = 120) -> str:
    """Give the first printable characters of a response, on one line, for an error message."""
    text = body[: 8 * limit].decode("utf-8", "replace")
    line = scrub(" ".join(printable(text).split()))
    return line if len(line) <= limit else line[:limit] + "…"


def clean_line(text: str) -> str:
    """One line without credentials and without control characters."""
    return scrub(printable(text))


def printable(text: str) -> str:
    """Replace each character that cannot be printed, such as a line break or an escape, by a space.

    So no terminal, log or file format reads a second line or a command in the result.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)
