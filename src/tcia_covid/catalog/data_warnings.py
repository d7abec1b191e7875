"""Warnings about the data of selected series, counted from what the catalog records of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

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


def data_warnings(series: Sequence[Series]) -> list[str]:
    """Say what a user of these series must know to read and interpret them rightly."""
    return [
        *_compressed(series),
        *_monochrome1(series),
        *_secondary_captures(series),
        *_without_pixels_or_in_color(series),
        *_short_ct(series),
    ]


def missing_values(series: Sequence[Series]) -> list[str]:
    """Say which columns are empty, so that filters by them leave series out."""
    return [
        f"{_share(missing, series)} have no {SERIES_NAMES[attribute]}: a filter by it leaves them "
        "out."
        for attribute in _OPTIONAL
        if (missing := [item for item in series if not getattr(item, attribute)])
    ]


def _compressed(series: Sequence[Series]) -> Iterator[str]:
    kinds = Counter(
        _COMPRESSED[uid]
        for item in series
        for uid in set((item.transfer_syntax or "").split(","))
        if uid in _COMPRESSED
    )
    for (name, packages), number in kinds.most_common():
        percent = f" ({100 * number / len(series):.0f} %)"
        yield (
            f"{number:,} of {len(series):,} series{percent} are compressed as {name}: to decode "
            f"their pixels, pydicom needs {packages}."
        )


def _monochrome1(series: Sequence[Series]) -> Iterator[str]:
    for share in _by_modality(
        series, lambda item: item.photometric_interpretation == "MONOCHROME1"
    ):
        yield f"{share} are MONOCHROME1: their lowest value is white, so invert them."


def _secondary_captures(series: Sequence[Series]) -> Iterator[str]:
    for share in _by_modality(series, lambda item: item.sop_class == SECONDARY_CAPTURE):
        yield (
            f"{share} are secondary captures, such as screenshots and reformatted images, not "
            f"original ones: --where 'SOPClassUID!={SECONDARY_CAPTURE}' leaves them out."
        )


def _without_pixels_or_in_color(series: Sequence[Series]) -> Iterator[str]:
    for share in _by_modality(
        series, lambda item: "RGB" in (item.photometric_interpretation or "")
    ):
        yield f"{share} are in color (RGB)."
    for share in _by_modality(
        series, lambda item: bool(item.sop_class) and not item.photometric_interpretation
    ):
        yield f"{share} have no pixels."


def _short_ct(series: Sequence[Series]) -> Iterator[str]:
    ct = [item for item in series if item.modality == "CT"]
    short = [item for item in ct if (item.image_count or _FEW_IMAGES) < _FEW_IMAGES]
    if short:
        yield (
            f"{_share(short, ct, 'CT series')} have fewer than {_FEW_IMAGES} images: most are "
            f"localizers (scouts). --where 'ImageCount>={_FEW_IMAGES}' leaves them out."
        )


def _by_modality(series: Iterable[Series], has: Callable[[Series], bool]) -> Iterator[str]:
    """Count the series of each modality for which `has` is true: `247 of 720 CR series`."""
    totals = Counter(item.modality or "other" for item in series)
    found = Counter(item.modality or "other" for item in series if has(item))
    for modality, number in sorted(found.items(), key=lambda pair: (-pair[1], pair[0])):
        yield f"{number:,} of {totals[modality]:,} {modality} series"


def _share(some: Sequence[Series], series: Sequence[Series], noun: str = "series") -> str:
    return f"{len(some):,} of {len(series):,} {noun}"
