"""What came of a series beside what the archives have on record of it."""

from __future__ import annotations

from tcia_covid.errors import IncompleteSeriesError, SeriesChangedError
from tcia_covid.model import Series
from tcia_covid.store import Staging


def adds_up(series: Series, staging: Staging) -> bool:
    """Whether count and bytes are those on record."""
    if not staging.images or series.image_count is None or series.size is None:
        return False
    return len(staging.images) == series.image_count and staging.size == series.size


def check_count(series: Series, staging: Staging) -> None:
    """See that there are as many images as are on record, once all that are named are here.

    Raises:
        IncompleteSeriesError: there are fewer.
        SeriesChangedError: there are more.
    """
    count, here = series.image_count, len(staging.images)
    if count is not None and here < count:
        raise IncompleteSeriesError(
            f"series {series.uid} is incomplete: the archive has {count} images on record "
            f"and names only {here}",
            hint="run the same command again later; report it to TCIA if it stays",
        )
    if count is not None and here > count:
        raise SeriesChangedError(
            f"series {series.uid} changed while it was fetched: {count} images were listed, "
            f"{here} are there",
            hint="run the same command again to list it anew",
        )
