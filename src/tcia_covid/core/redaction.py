"""Removes credentials from messages, logs and files."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from tcia_covid.core.plain_text import printable

_UNREADABLE = "(unreadable URL)"
# Greedy up to the last "@": a password may contain an "@" or "/" that somebody did not encode.
# Without "://" it begins a word and is not a drive: paths may contain ":" and "@", too.
_USERINFO = re.compile(
    r"""(?<=://)[^\s'"<>]*@
    | (?<=//)[^\s'"<>/]*@
    | (?<![\w./\\~+-])(?![A-Za-z]:[/\\])[^\s'"<>:/]+:[^\s'"<>]*@""",
    re.VERBOSE,
)
_QUERY = re.compile(r"\?[^\s'\"<>)]+")
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
    text = _HEADER.sub(r"\1: …", _QUERY.sub("?…", text))
    return _NAMED.sub(r"\1…", text)


def excerpt(body: bytes, limit: int = 120) -> str:
    """Give the first printable characters of a response, on one line, for an error message."""
    text = body[: 8 * limit].decode("utf-8", "replace")
    line = scrub(" ".join(printable(text).split()))
    return line if len(line) <= limit else line[:limit] + "…"
