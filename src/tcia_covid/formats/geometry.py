"""Whether the images of a series form a volume: their order, spacing and orientation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import pairwise
from typing import Any

from tcia_covid.core.units import count
from tcia_covid.formats.image_header import ImageHeader
from tcia_covid.formats.slice_order import slice_order

_COSINE_TOLERANCE = 1e-3
"""Orientations that differ less, in each cosine, count as equal: 0.06 degrees."""
_RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE = 0.01, 0.01
"""Distances that differ less from their median, relatively or in mm, count as equal."""
_SMALLEST_STEP = 1e-3
"""mm: closer images are at the same position."""
_FEWEST_SLICES = 3
_MOST_NAMED = 4
"""Numbers that a message names."""
# PS3.4 table B.5-1: CT, MR and PET Image Storage
_SLICE_CLASSES = {f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "4", "128")}


class Kind(str, Enum):
    """The kind of a series for users who need a volume."""

    VOLUME = "volume"
    """Parallel slices at equal distances."""
    IRREGULAR = "irregular"
    """Slices that do not form a volume as they are."""
    LOCALIZER = "localizer"
    """Scouts, which localize the slices of other series."""
    PROJECTION = "projection"
    """Radiographs and other images without a position in the patient."""
    FEW = "few"
    """One or two slices."""
    MULTI_FRAME = "multi-frame"
    """Images of several frames: the positions of frames are not checked."""
    NO_IMAGE = "no-image"
    """Documents, waveforms and other objects without pixels."""


class Finding(str, Enum):
    """What a check found; the code is for programs, stable over time."""

    LOCALIZERS = "localizers"
    ORIENTATIONS = "mixed-orientations"
    MATRICES = "mixed-matrices"
    PIXEL_SPACINGS = "mixed-pixel-spacings"
    NO_POSITION = "no-position"
    SAME_POSITION = "same-position"
    SPACING = "uneven-spacing"
    TILT = "tilted"
    NUMBER_GAPS = "instance-number-gaps"
    NUMBER_DOUBLES = "instance-number-doubles"
    NUMBER_MISSING = "no-instance-number"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a series."""

    finding: Finding
    detail: str
    """One sentence."""
    prevents_volume: bool = True
    """False for a remark: by their positions, the slices form a volume nevertheless."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The result of the checks of one series."""

    kind: Kind
    problems: tuple[Problem, ...] = ()
    rows: int = 0
    columns: int = 0
    frames: int = 1
    """Of the image that represents the series."""
    slice_spacing: float | None = None
    """Median distance of neighboring slices, in mm."""
    pixel_spacing: tuple[float, ...] | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Geometry:
        """Build a geometry from what `asdict` returns, as it is cached.

        Raises:
            ValueError: a value is invalid.
            TypeError: a value has another type.
            KeyError: a value is missing.
        """
        spacing, pixels = values["slice_spacing"], values["pixel_spacing"]
        return cls(
            kind=Kind(values["kind"]),
            problems=tuple(
                Problem(
                    Finding(each["finding"]), str(each["detail"]), bool(each["prevents_volume"])
                )
                for each in values["problems"]
            ),
            rows=int(values["rows"]),
            columns=int(values["columns"]),
            frames=int(values["frames"]),
            slice_spacing=None if spacing is None else float(spacing),
            pixel_spacing=None if pixels is None else tuple(map(float, pixels)),
        )


def representative(images: Sequence[ImageHeader]) -> int | None:
    """The index of the image that represents a series best; None if no image has pixels.

    The middle slice of the largest set of parallel slices; of radiographs a frontal one (PA, AP).
    """
    shown = [at for at, image in enumerate(images) if image.rows and image.columns]
    if not shown:
        return None
    slices = [at for at in shown if not _is_localizer(images[at])] or shown
    frontal = [at for at in slices if images[at].view in {"PA", "AP"}]
    groups = _group_by_orientation([images[at] for at in slices])
    (largest, _), *_ = Counter(groups).most_common(1)
    parallel = frontal or [at for at, g in zip(slices, groups, strict=True) if g == largest]
    names = [f"{at:09}" for at in parallel]
    order = slice_order([images[at].attributes for at in parallel], names)
    return parallel[order[len(order) // 2]]


def check_geometry(images: Sequence[ImageHeader]) -> Geometry:
    """Check whether images form a volume, by their headers alone."""
    best = representative(images)
    if best is None:
        return Geometry(Kind.NO_IMAGE)
    shown = [image for image in images if image.rows and image.columns]
    sample = images[best]
    kind, problems, spacing = _check(shown)
    return Geometry(
        kind=kind,
        problems=tuple(problems),
        rows=sample.rows,
        columns=sample.columns,
        frames=sample.frames,
        slice_spacing=spacing,
        pixel_spacing=sample.spacing,
    )


def _check(images: Sequence[ImageHeader]) -> tuple[Kind, list[Problem], float | None]:
    if all(map(_is_localizer, images)):
        return Kind.LOCALIZER, [], None
    if any(image.frames > 1 for image in images):
        return Kind.MULTI_FRAME, [], None
    if not any(image.position for image in images):
        return (*_check_without_positions(images), None)
    problems = list(_set_problems(images))
    spacing = None
    if not any(problem.prevents_volume for problem in problems):
        spacing, spacing_problems = _spacing_problems(images)
        problems += spacing_problems
    problems += _number_problems(images, decides=False)
    if any(problem.prevents_volume for problem in problems):
        return Kind.IRREGULAR, problems, spacing
    return (Kind.FEW if len(images) < _FEWEST_SLICES else Kind.VOLUME), problems, spacing


def _check_without_positions(images: Sequence[ImageHeader]) -> tuple[Kind, list[Problem]]:
    problems = list(_number_problems(images, decides=True))
    if not any(image.sop_class in _SLICE_CLASSES for image in images):
        return Kind.PROJECTION, problems
    if len(images) < _FEWEST_SLICES:
        return Kind.FEW, []
    detail = "the images have no position: only InstanceNumber orders them"
    return Kind.IRREGULAR, [Problem(Finding.NO_POSITION, detail), *problems]


def _is_localizer(image: ImageHeader) -> bool:
    return "LOCALIZER" in image.image_type


def _set_problems(images: Sequence[ImageHeader]) -> Iterator[Problem]:
    """Findings that prevent images from being slices of one stack."""
    total = len(images)
    if localizers := sum(map(_is_localizer, images)):
        yield Problem(Finding.LOCALIZERS, f"{localizers:,} of {count(total, 'image')} are scouts")
    missing = sum(not (image.position and image.orientation) for image in images)
    if missing:
        yield Problem(
            Finding.NO_POSITION, f"{missing:,} of {count(total, 'image')} have no position"
        )
    orientations = set(_group_by_orientation([image for image in images if image.orientation]))
    if len(orientations) > 1:
        yield Problem(
            Finding.ORIENTATIONS, f"the images have {len(orientations)} different orientations"
        )
    matrices = sorted({(image.rows, image.columns) for image in images})
    if len(matrices) > 1:
        sizes = _join([f"{rows} x {columns}" for rows, columns in matrices])
        yield Problem(Finding.MATRICES, f"the images have different sizes: {sizes}")
    spacings = {tuple(round(mm, 4) for mm in image.spacing or ()) for image in images}
    if len(spacings) > 1:
        yield Problem(Finding.PIXEL_SPACINGS, "the images have different pixel spacings")


def _spacing_problems(images: Sequence[ImageHeader]) -> tuple[float | None, list[Problem]]:
    """Compare the distances of neighboring slices of one orientation."""
    normal = _normal(images[0])
    if normal is None:
        return None, [Problem(Finding.NO_POSITION, "the orientation of the images is invalid")]
    along = partial(_along, normal)
    places = sorted(map(along, images))
    steps = [after - before for before, after in pairwise(places)]
    same = sum(step < _SMALLEST_STEP for step in steps)
    if same:
        detail = (
            f"{count(len(images), 'image')} are at {count(len(images) - same, 'position')}: "
            "several phases, or the same slices again"
        )
        return None, [Problem(Finding.SAME_POSITION, detail)]
    if not steps:
        return None, []
    median = sorted(steps)[len(steps) // 2]
    tolerance = max(_ABSOLUTE_TOLERANCE, _RELATIVE_TOLERANCE * median)
    uneven = [step for step in steps if abs(step - median) > tolerance]
    if uneven:
        return median, [Problem(Finding.SPACING, _spacing_detail(steps, uneven, median))]
    if _is_tilted(normal, min(images, key=along), max(images, key=along)):
        detail = "the slices are shifted against each other (gantry tilt): correct the shear"
        return median, [Problem(Finding.TILT, detail, prevents_volume=False)]
    return median, []


def _spacing_detail(steps: Sequence[float], uneven: Sequence[float], median: float) -> str:
    detail = (
        f"{len(uneven):,} of {count(len(steps), 'distance')} differ from {median:.4g} mm: "
        f"{min(steps):.4g} to {max(steps):.4g} mm"
    )
    missing = [round(step / median) - 1 for step in uneven]
    is_gap = all(
        number > 0 and abs(step / median - number - 1) < 0.1  # noqa: PLR2004 - of a distance
        for step, number in zip(uneven, missing, strict=True)
    )
    return f"{detail}; {count(sum(missing), 'slice')} seem to be missing" if is_gap else detail


def _is_tilted(normal: Sequence[float], first: ImageHeader, last: ImageHeader) -> bool:
    """Whether the line through the first pixels is more than 0.6 degrees off the normal."""
    if first.position is None or last.position is None:
        return False
    line = [b - a for a, b in zip(first.position, last.position, strict=True)]
    length = math.hypot(*line)
    along = abs(sum(a * b for a, b in zip(line, normal, strict=True)))
    return length > 0 and along / length < math.cos(math.radians(0.6))


def _number_problems(images: Sequence[ImageHeader], *, decides: bool) -> Iterator[Problem]:
    """Gaps and doubles of InstanceNumber; remarks only, unless it alone decides on the order."""
    numbers = [image.instance_number for image in images if image.instance_number is not None]
    if len(numbers) < len(images):
        detail = f"{count(len(images) - len(numbers), 'image')} have no InstanceNumber"
        yield Problem(Finding.NUMBER_MISSING, detail, prevents_volume=decides)
    doubles = sorted(number for number, times in Counter(numbers).items() if times > 1)
    if doubles:
        detail = f"InstanceNumber occurs more than once: {_join(doubles)}"
        yield Problem(Finding.NUMBER_DOUBLES, detail, prevents_volume=decides)
    unique = sorted(set(numbers))
    gaps = [
        str(before + 1) if after == before + 2 else f"{before + 1} to {after - 1}"
        for before, after in pairwise(unique)
        if after > before + 1
    ]
    if gaps:
        detail = f"InstanceNumber has gaps: {_join(gaps)}"
        yield Problem(Finding.NUMBER_GAPS, detail, prevents_volume=decides)


def _join(values: Sequence[object]) -> str:
    text = ", ".join(map(str, values[:_MOST_NAMED]))
    return f"{text} and {len(values) - _MOST_NAMED:,} more" if len(values) > _MOST_NAMED else text


def _group_by_orientation(images: Sequence[ImageHeader]) -> list[int]:
    """The number of each image's group: those of one group have the same orientation."""
    known: list[tuple[float, ...]] = []
    groups = []
    for image in images:
        cosines = image.orientation or ()
        matching = (number for number, each in enumerate(known) if _same(each, cosines))
        group = next(matching, len(known))
        if group == len(known):
            known.append(cosines)
        groups.append(group)
    return groups


def _same(cosines: tuple[float, ...], others: tuple[float, ...]) -> bool:
    return len(cosines) == len(others) and all(
        abs(a - b) <= _COSINE_TOLERANCE for a, b in zip(cosines, others, strict=True)
    )


def _normal(image: ImageHeader) -> tuple[float, float, float] | None:
    """The unit vector perpendicular to an image; None without a valid orientation."""
    if image.orientation is None:
        return None
    a, b, c, d, e, f = image.orientation
    cross = (b * f - c * e, c * d - a * f, a * e - b * d)
    length = math.hypot(*cross)
    if not 0.9 < length < 1.1:  # noqa: PLR2004 - cosines, as PS3.3 C.7.6.2.1.1 has them, give 1
        return None
    return cross[0] / length, cross[1] / length, cross[2] / length


def _along(normal: Sequence[float], image: ImageHeader) -> float:
    return sum(a * b for a, b in zip(normal, image.position or (), strict=True))
