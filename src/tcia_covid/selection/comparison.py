"""An archive's list beside the catalogue's, by SeriesInstanceUID."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tcia_covid.model import Series


@dataclass(frozen=True, slots=True)
class Difference:
    """One series that an archive and the catalogue describe differently."""

    series: str
    images: tuple[int | None, int | None]
    """As the archive, as the catalogue has it."""
    sizes: tuple[int | None, int | None]

    @property
    def fewer(self) -> bool:
        """Whether the archive lists fewer images than the catalogue."""
        listed, known = self.images
        return listed is not None and known is not None and listed < known


@dataclass(frozen=True, slots=True)
class Comparison:
    """An archive's list of one collection beside the catalogue's."""

    collection: str
    """Empty where single series were asked for."""
    listed: int
    """Series in the archive's list."""
    known: int
    """Series in the catalogue."""
    only_nbia: list[str]
    only_catalogue: list[str]
    different: list[Difference]

    @property
    def same(self) -> int:
        """Series that both describe alike."""
        return self.listed - len(self.only_nbia) - len(self.different)

    @property
    def differs(self) -> bool:
        """Whether there is any difference."""
        return bool(self.only_nbia or self.only_catalogue or self.different)


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
