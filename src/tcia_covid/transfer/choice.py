"""Whether what lacks of a series is cheaper to have one by one, or as the whole stream again."""

from __future__ import annotations

from tcia_covid.model import Series
from tcia_covid.store import Staging

_REQUEST = 64 * 1024
"""Bytes that a slow line could have brought in the time that a request waits for its answer."""
_DEFLATED = 0.55
"""A ZIP's share of the bytes that it holds: CT and radiographs deflate to 0.5 to 0.6."""


def stream_is_cheaper(series: Series, staging: Staging, missing: int, *, skips: bool) -> bool:
    """Compare the bytes on the line of both ways, waiting counted as bytes.

    Args:
        series: as listed.
        staging: what is here.
        missing: images that are not.
        skips: whether the archive's stream leaves out what is here.
    """
    if skips:
        return True
    total = series.size or _guess(staging, missing)
    lacking = max(0, total - staging.size)
    whole = _REQUEST + total * _DEFLATED
    return whole < missing * _REQUEST + lacking


def _guess(staging: Staging, missing: int) -> int:
    here = len(staging.images)
    if here == 0:
        return missing * _REQUEST
    return staging.size * (here + missing) // here
