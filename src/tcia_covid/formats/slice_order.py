"""The order of a series' images along the patient: the names of DICOM files carry none."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tcia_covid.core.models import ImageAttributes

_SAME_DIRECTION = 1e-3
"""Largest difference of two direction cosines that count as one orientation."""
_DECIMALS = 3
"""Of mm, to which positions are compared."""


def slice_order(images: Sequence[ImageAttributes], names: Sequence[str]) -> list[int]:
    """The indices of `images` in slice order.

    Where all images have a position and one common orientation, they are ordered by the distance of
    ImagePositionPatient along the normal of the slices, rising, as ITK orders them: a CT from feet
    to head. If several images share a position, AcquisitionNumber comes first. All other series
    are ordered by InstanceNumber. What is left equal is ordered by InstanceNumber, then by name.
    """
    if len(images) == 1:
        return [0]
    distances = _distances(images)
    by_acquisition = len(set(distances)) < len(distances)
    if distances and not by_acquisition:  # nearly every CT and MR
        return sorted(range(len(images)), key=distances.__getitem__)
    keys = [
        (
            _whole(image.acquisition) if by_acquisition else (False, 0),
            distances[index] if distances else 0.0,
            _whole(image.number),
            names[index],
        )
        for index, image in enumerate(images)
    ]
    return sorted(range(len(images)), key=keys.__getitem__)


def _distances(images: Sequence[ImageAttributes]) -> list[float]:
    """The distance of each image along the common normal, in mm; empty where there is none."""
    orientations = [_numbers(text) for text in {image.orientation for image in images}]
    if not orientations or any(len(each) != 6 for each in orientations):  # noqa: PLR2004
        return []
    first = orientations[0]
    for other in orientations[1:]:
        if any(abs(a - b) > _SAME_DIRECTION for a, b in zip(first, other, strict=True)):
            return []
    a, b, c, d, e, f = first
    normal_x, normal_y, normal_z = (b * f - c * e, c * d - a * f, a * e - b * d)
    try:
        distances = [
            round(float(x) * normal_x + float(y) * normal_y + float(z) * normal_z, _DECIMALS)
            for x, y, z in (image.position.split("\\") for image in images)
        ]
    except ValueError:
        return []
    return distances if all(map(math.isfinite, distances)) else []


def _whole(text: str) -> tuple[bool, int]:
    """A whole number, for sorting: what is not one comes last."""
    try:
        return False, int(text)
    except ValueError:
        return True, 0


def _numbers(text: str) -> tuple[float, ...]:
    """The finite numbers in a value of DICOM; none if one is not a number."""
    try:
        values = tuple(map(float, text.split("\\")))
    except ValueError:
        return ()
    return values if all(map(math.isfinite, values)) else ()
