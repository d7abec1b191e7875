"""Series, receipts and summaries for tests of what is shown of them."""

from __future__ import annotations

from typing import Any

from tcia_covid.core.models import Check, Failure, Outcome, Receipt, Series, State, StoredImage
from tcia_covid.core.summary import Summary


def series(uid: str = "1.2.3", size: int | None = 1000, **more: Any) -> Series:
    """A series of the patient P1."""
    facts = {"collection": "C", "patient": "P1", "study": "1.2", "image_count": 2} | more
    return Series(uid=uid, size=size, **facts)


def receipt(of: Series, check: Check = Check.MD5) -> Receipt:
    """The receipt of a series of two images."""
    half = (of.size or 0) // 2
    images = tuple(StoredImage(f"{of.uid}.{n}", half, "0" * 32, check) for n in (1, 2))
    return Receipt(of, f"P1/1.2/{of.uid}", images, "2026-01-01T00:00:00Z", "tcia-covid 0")


def complete(of: Series) -> Outcome:
    """A complete series."""
    return Outcome(of, State.COMPLETE, receipt(of))


def failed(of: Series, detail: str = "it did not come", **more: Any) -> Outcome:
    """A series that did not."""
    facts = {"reason": "incomplete"} | more
    return Outcome(of, State.FAILED, failure=Failure(of.uid, detail=detail, **facts))


def summary(**more: Any) -> Summary:
    """The summary of a run that had three series to fetch."""
    facts: dict[str, Any] = {
        "targets": ["C"],
        "output": "data",
        "seconds": 12.3,
        "selected": 3,
        "complete": 3,
        "images_expected": 6,
        "images_stored": 6,
        "bytes_stored": 3000,
        "bytes_received": 2000,
        "checked_md5": 3,
        "sources": {"nbia": 3, "idc": 0},
        "fetched_from": {"nbia": 3},
    }
    return Summary(**(facts | more))
