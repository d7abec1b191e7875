"""Taking credentials out of anything that a person, a log or a file may see."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_USERINFO = re.compile(r"(?<=://)[^/\s@]*@")
_QUERY = re.compile(r"\?[^\s'\"<>)]*")


def redact(url: str) -> str:
    """Give `url` without user, password, query and fragment: what messages may show."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return "(unreadable URL)"


def scrub(text: str) -> str:
    """Give `text` with the user information and query strings of all URLs in it removed."""
    return _QUERY.sub("?…", _USERINFO.sub("", text))


def excerpt(body: bytes, limit: int = 120) -> str:
    """Give the first printable characters of an answer, on one line, for an error message."""
    text = body[: 4 * limit].decode("utf-8", "replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = scrub(line)
    return line if len(line) <= limit else line[:limit] + "…"
