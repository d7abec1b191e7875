"""The sentences in which a ZIP stream is refused."""

from __future__ import annotations

from tcia_covid.errors import TruncatedZipError, ZipError

QUOTED_CHARACTERS = 120


def damaged(what: str) -> ZipError:
    """The stream contradicts itself: a fault of transfer or server, worth another attempt."""
    return ZipError(what, hint="the series is asked for again", retryable=True)


def refused(what: str) -> ZipError:
    """The stream is of a kind that is not read; another attempt would bring the same."""
    return ZipError(what, hint="the archive sent a ZIP that this program does not accept")


def cut(position: int) -> TruncatedZipError:
    """The stream ended `position` bytes from its start, before its end record was complete."""
    what = f"the ZIP stream was cut after {position} bytes, before its end record"
    return TruncatedZipError(
        what if position else "the answer is empty: not even a ZIP's first byte came",
        hint="the series is asked for again",
        retryable=True,
    )


def not_a_zip(head: bytes) -> ZipError:
    """The stream does not begin like a ZIP: most often an error page."""
    return damaged(f"the answer is not a ZIP; it begins with '{quoted(head)}'")


def quoted(raw: bytes) -> str:
    """The first characters of `raw`, printable ones alone, for use in a message."""
    text = raw.decode("utf-8", "replace")
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:QUOTED_CHARACTERS]
