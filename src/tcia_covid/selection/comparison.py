"""An archive's list beside the catalogue's, by SeriesInstanceUID."""

from __future__ import annotations

from collections.abc import Mapping

from tcia_covid.model import Series
from tcia_covid.summary import Comparison, Difference


def beside(name: str, listed: Mapping[str, Series], known: Mapping[str, Series]) -> Comparison:
    """Compare what an archive lists of a collection with what the catalogue has, by UID."""
    both = sorted(listed.keys() & known.keys())
    return Comparison(
        collection=name,
        listed=len(listed),
        known=len(known),
        only_nbia=sorted(listed.keys() - known.keys()),
        only_catalogue=sorted(known.keys() - listed.keys()),
        different=[
            Difference(
                uid,
                (listed[uid].image_count, known[uid].image_count),
                (listed[uid].size, known[uid].size),
            )
            for uid in both
            if _described(listed[uid]) != _described(known[uid])
        ],
    )


def _described(series: Series) -> tuple[int | None, int | None]:
    return series.image_count, series.size
