"""The plots of the HTML report: horizontal bars, whose geometry the template draws as SVG."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tcia_covid.core.units import format_size
from tcia_covid.operations.report import SeriesReport

_MOST_BARS = 10
_ROW = 22
"""Height of a bar with its margin, in the units of the SVG."""
_IMAGES = (1, 2, 5, 10, 50, 100, 200, 500)
_SIZES = (0, 10**6, 10**7, 5 * 10**7, 10**8, 2 * 10**8, 5 * 10**8, 10**9)
_STUDIES = (1, 2, 3, 4, 5, 10, 20)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its label, its value, and where it is."""

    label: str
    value: int
    top: int
    width: float
    """From 0 to 100."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot."""

    title: str
    unit: str
    """What the values count."""
    bars: list[Bar]

    @property
    def height(self) -> int:
        """In the units of the SVG."""
        return _ROW * len(self.bars)

    @property
    def description(self) -> str:
        """The plot in words."""
        return "; ".join(f"{bar.label}: {bar.value:,} {self.unit}" for bar in self.bars)


def plots(series: Sequence[SeriesReport]) -> list[Plot]:
    """The plots of one collection."""
    modalities = Counter(each.series.modality or "unknown" for each in series)
    studies: dict[str, set[str]] = {}
    for each in series:
        studies.setdefault(each.series.patient, set()).add(each.series.study)
    dates = {each.series.study: each.series.study_date for each in series}
    return [
        _plot("Series by modality", "series", _most_common(modalities)),
        _plot(
            "Images per series", "series", _bins((each.images for each in series), _IMAGES, _plain)
        ),
        _plot("Size of series", "series", _bins((each.size for each in series), _SIZES, _size)),
        _plot(
            "Studies per patient", "patients", _bins(map(len, studies.values()), _STUDIES, _plain)
        ),
        _plot("Study dates", "studies", _dates(date for date in dates.values() if date)),
    ]


def _plot(title: str, unit: str, values: Mapping[str, int]) -> Plot:
    largest = max(values.values(), default=0) or 1
    bars = [
        Bar(label, value, _ROW * row, round(100 * value / largest, 2))
        for row, (label, value) in enumerate(values.items())
    ]
    return Plot(title, unit, bars)


def _most_common(values: Counter[str]) -> dict[str, int]:
    shown = dict(values.most_common(_MOST_BARS if len(values) <= _MOST_BARS else _MOST_BARS - 1))
    others = values.total() - sum(shown.values())
    return {**shown, "others": others} if others else shown


def _bins(
    values: Iterable[int], edges: Sequence[int], name: Callable[[int], str]
) -> dict[str, int]:
    """Count values between edges; bins before the first and after the last value are left out."""
    counted = Counter(bisect_right(edges, value) - 1 for value in values)
    if not counted:
        return {}
    return {
        _bin_label(edges, at, name): counted[at] for at in range(min(counted), max(counted) + 1)
    }


def _plain(value: int) -> str:
    return f"{value:,}"


def _size(value: int) -> str:
    return format_size(value).replace(".0 ", " ")


def _bin_label(edges: Sequence[int], at: int, name: Callable[[int], str]) -> str:
    if at < 0:
        return f"below {name(edges[0])}"
    if at == len(edges) - 1:
        return f"{name(edges[at])} or more"
    if name is _size:
        return f"{name(edges[at])} to {name(edges[at + 1])}" if at else f"below {name(edges[1])}"
    last = edges[at + 1] - 1
    return name(last) if last == edges[at] else f"{name(edges[at])} to {name(last)}"


def _dates(dates: Iterable[str]) -> dict[str, int]:
    """Count by month, or by year where months are too many."""
    days = sorted(dates)
    for length in (7, 4):
        counted = Counter(day[:length] for day in days)
        if len(counted) <= _MOST_BARS:
            return dict(sorted(counted.items()))
    years = sorted(counted.items())
    rest = sum(number for _, number in years[: 1 - _MOST_BARS])
    return {"earlier": rest, **dict(years[1 - _MOST_BARS :])}
