"""Warnings about the data of selected series, counted from what the catalog records of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from tcia_covid.catalog import series_catalog
from tcia_covid.core.models import SERIES_NAMES, Series

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_JPEG = "pylibjpeg with pylibjpeg-libjpeg, or gdcm (python-gdcm)"
_JPEG_2000 = "pylibjpeg with pylibjpeg-openjpeg, or gdcm (python-gdcm)"
_COMPRESSED = {
    "1.2.840.10008.1.2.4.50": ("JPEG Baseline", _JPEG),
    "1.2.840.10008.1.2.4.51": ("JPEG Extended", _JPEG),
    "1.2.840.10008.1.2.4.57": ("JPEG Lossless", _JPEG),
    "1.2.840.10008.1.2.4.70": ("JPEG Lossless", _JPEG),
    "1.2.840.10008.1.2.4.80": ("JPEG-LS Lossless", _JPEG),
    "1.2.840.10008.1.2.4.81": ("JPEG-LS", _JPEG),
    "1.2.840.10008.1.2.4.90": ("JPEG 2000 Lossless", _JPEG_2000),
    "1.2.840.10008.1.2.4.91": ("JPEG 2000", _JPEG_2000),
}
"""Transfer syntaxes whose pixels pydicom does not decode alone, and what decodes them, as
pydicom's guide to compressed pixel data lists it."""
_FEW_IMAGES = 10
"""A CT series with fewer images is rarely a volume."""
_OPTIONAL = ("body_part", "patient_age", "patient_sex", "manufacturer", "description")
"""Attributes that users filter by, and that archives often do not record."""


class _Kind(NamedTuple):
    """What series of one kind have in common."""

    modality: str | None
    sop_class: str | None
    photometric_interpretation: str | None
    transfer_syntax: str | None


_Kinds = Mapping[_Kind, int]
"""Numbers of series by kind: a collection has few kinds, so counting them first is fast."""


def data_warnings(series: Sequence[Series]) -> list[str]:
    """Return what a user must know to read and interpret these series correctly."""
    counts = Counter(map(attrgetter(*_Kind._fields), series))
    kinds = {_Kind(*values): number for values, number in counts.items()}
    return [
        *_compressed(kinds),
        *(f"{share} {what}." for what, has in _OF_KIND.items() for share in _share_of(kinds, has)),
        *_short_ct(series),
    ]


def missing_values(series: Sequence[Series]) -> list[str]:
    """Name the columns without values: filters by them exclude series."""
    return [
        f"{_share(missing, series)} have no {SERIES_NAMES[attribute]}: a filter by it leaves them "
        "out."
        for attribute in _OPTIONAL
        if (missing := [item for item in series if not getattr(item, attribute)])
    ]


def _compressed(kinds: _Kinds) -> Iterator[str]:
    total = sum(kinds.values())
    encodings: Counter[tuple[str, str]] = Counter()
    for kind, number in kinds.items():
        uids = set((kind.transfer_syntax or "").split(",")) & _COMPRESSED.keys()
        encodings.update(dict.fromkeys((_COMPRESSED[uid] for uid in uids), number))
    for (name, packages), number in encodings.most_common():
        yield (
            f"{number:,} of {total:,} series ({100 * number / total:.0f} %) are compressed as "
            f"{name}: to decode their pixels, pydicom needs {packages}."
        )


_OF_KIND: Mapping[str, Callable[[_Kind], bool]] = {
    "are MONOCHROME1: their lowest value is white, so invert them": lambda kind: (
        kind.photometric_interpretation == "MONOCHROME1"
    ),
    "are secondary captures, such as screenshots and reformatted images, not original ones: "
    f"--where 'SOPClassUID!={SECONDARY_CAPTURE}' leaves them out": lambda kind: (
        kind.sop_class == SECONDARY_CAPTURE
    ),
    "are in color (RGB)": lambda kind: "RGB" in (kind.photometric_interpretation or ""),
    "have no pixels": lambda kind: bool(kind.sop_class) and not kind.photometric_interpretation,
}
"""What to say of series, and of which."""


def _short_ct(series: Sequence[Series]) -> Iterator[str]:
    ct = [item for item in series if item.modality == "CT"]
    short = [item for item in ct if (item.image_count or _FEW_IMAGES) < _FEW_IMAGES]
    if short:
        yield (
            f"{_share(short, ct, 'CT series')} have fewer than {_FEW_IMAGES} images: most are "
            f"localizers (scouts). --where 'ImageCount>={_FEW_IMAGES}' leaves them out."
        )


def _share_of(kinds: _Kinds, has: Callable[[_Kind], bool]) -> Iterator[str]:
    """Count the series of each modality for which `has` is true: `247 of 720 CR series`."""
    totals: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for kind, number in kinds.items():
        modality = kind.modality or "other"
        totals[modality] += number
        found[modality] += number * has(kind)
    for modality, number in sorted((+found).items(), key=lambda pair: (-pair[1], pair[0])):
        yield f"{number:,} of {totals[modality]:,} {modality} series"


def _share(some: Sequence[Series], series: Sequence[Series], noun: str = "series") -> str:
    return f"{len(some):,} of {len(series):,} {noun}"


def collection_warnings(name: str) -> list[str]:
    """Warnings about a collection of the catalog; empty for others."""
    if not series_catalog.has(name):
        return []
    series = series_catalog.load(name)
    return data_warnings(series) + missing_values(series)
