"""Whether the images of a series form a volume."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest

from tcia_covid.formats.geometry import (
    Finding,
    Geometry,
    Kind,
    check_geometry,
    representative,
)
from tcia_covid.formats.image_header import ImageHeader

CT = "1.2.840.10008.5.1.4.1.1.2"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def stack(*places: float, step: float = 2.5, count: int = 5) -> list[ImageHeader]:
    """Axial slices at these places in mm, or `count` slices at equal distances."""
    return [
        ImageHeader(
            sop_class=CT,
            image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
            instance_number=number,
            position=(-100.0, -100.0, place),
            orientation=AXIAL,
            spacing=(0.7, 0.7),
            rows=512,
            columns=512,
        )
        for number, place in enumerate(places or [step * n for n in range(count)], 1)
    ]


def findings(geometry: Geometry) -> dict[Finding, bool]:
    return {problem.finding: problem.prevents_volume for problem in geometry.problems}


def test_parallel_slices_at_equal_distances_are_a_volume() -> None:
    geometry = check_geometry(stack())
    assert geometry == Geometry(
        Kind.VOLUME, (), rows=512, columns=512, slice_spacing=2.5, pixel_spacing=(0.7, 0.7)
    )


def test_rounded_positions_are_at_equal_distances() -> None:
    assert check_geometry(stack(0, 0.62, 1.25, 1.87, 2.5)).kind is Kind.VOLUME


def test_the_order_of_files_does_not_matter() -> None:
    assert check_geometry(stack()[::-1]) == check_geometry(stack())
    assert check_geometry(stack(5, 0, 7.5, 2.5, 10)).kind is Kind.VOLUME


def test_a_missing_slice_is_uneven_spacing_and_counted() -> None:
    geometry = check_geometry(stack(0, 2.5, 5, 10, 12.5))
    assert geometry.kind is Kind.IRREGULAR
    assert findings(geometry) == {Finding.SPACING: True}
    assert "1 of 4 distances differ from 2.5 mm: 2.5 to 5 mm; 1 slice" in (
        geometry.problems[0].detail
    )


def test_irregular_distances_are_uneven_and_not_reported_as_missing_slices() -> None:
    geometry = check_geometry(stack(0, 2.5, 5, 8.4, 10.9))
    assert findings(geometry) == {Finding.SPACING: True}
    assert "missing" not in geometry.problems[0].detail


def test_slices_at_the_same_position_are_no_volume() -> None:
    geometry = check_geometry(stack(0, 2.5, 5, 0, 2.5, 5))
    assert findings(geometry) == {Finding.SAME_POSITION: True}
    assert "6 images are at 3 positions" in geometry.problems[0].detail


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"orientation": CORONAL}, Finding.ORIENTATIONS),
        ({"rows": 256}, Finding.MATRICES),
        ({"spacing": (0.8, 0.8)}, Finding.PIXEL_SPACINGS),
        ({"position": None}, Finding.NO_POSITION),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, Finding.LOCALIZERS),
    ],
)
def test_one_different_image_prevents_a_volume(change: dict[str, object], finding: Finding) -> None:
    images = stack(count=20)
    images[7] = replace(images[7], **change)  # type: ignore[arg-type]
    geometry = check_geometry(images)
    assert geometry.kind is Kind.IRREGULAR
    assert finding in findings(geometry)


def test_orientations_that_differ_by_rounding_are_the_same() -> None:
    images = stack()
    images[2] = replace(images[2], orientation=(0.9999996, 0.0005, 0, -0.0005, 0.9999996, 0))
    assert check_geometry(images).kind is Kind.VOLUME


def test_gaps_and_doubles_of_instance_numbers_are_remarks_where_positions_decide() -> None:
    images = stack(count=6)
    numbers = (1, 2, 2, 5, 9, 10)
    images = [replace(i, instance_number=n) for i, n in zip(images, numbers, strict=True)]
    geometry = check_geometry(images)
    assert geometry.kind is Kind.VOLUME
    assert findings(geometry) == {Finding.NUMBER_GAPS: False, Finding.NUMBER_DOUBLES: False}
    assert [problem.detail for problem in geometry.problems] == [
        "InstanceNumber occurs more than once: 2",
        "InstanceNumber has gaps: 3 to 4, 6 to 8",
    ]


def test_slices_without_positions_are_no_volume_and_their_numbers_decide() -> None:
    images = [replace(image, position=None, orientation=None) for image in stack()]
    images[3] = replace(images[3], instance_number=None)
    geometry = check_geometry(images)
    assert geometry.kind is Kind.IRREGULAR
    assert findings(geometry) == {
        Finding.NO_POSITION: True,
        Finding.NUMBER_MISSING: True,
        Finding.NUMBER_GAPS: True,
    }


def test_a_tilted_gantry_is_a_remark() -> None:
    images = [
        replace(image, position=(0, (image.position or (0, 0, 0))[2] * 0.2, image.position[2]))
        for image in stack()
        if image.position
    ]
    geometry = check_geometry(images)
    assert geometry.kind is Kind.VOLUME
    assert findings(geometry) == {Finding.TILT: False}


def test_an_oblique_stack_is_a_volume() -> None:
    angle = math.radians(20)
    rows, columns = (1.0, 0.0, 0.0), (0.0, math.cos(angle), math.sin(angle))
    images = [
        replace(
            image,
            orientation=(*rows, *columns),
            position=(0, -math.sin(angle) * 3 * n, math.cos(angle) * 3 * n),
        )
        for n, image in enumerate(stack())
    ]
    geometry = check_geometry(images)
    assert (geometry.kind, geometry.problems) == (Kind.VOLUME, ())
    assert geometry.slice_spacing == pytest.approx(3)


@pytest.mark.parametrize(
    ("images", "kind"),
    [
        (
            [replace(i, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")) for i in stack()],
            "localizer",
        ),
        ([ImageHeader(rows=3000, columns=2500, view="PA", instance_number=1)], "projection"),
        (stack(count=2), "few"),
        (stack(count=1), "few"),
        ([ImageHeader(sop_class=CT, rows=512, columns=512)], "few"),
        ([ImageHeader(rows=512, columns=512, frames=60)], "multi-frame"),
        ([ImageHeader(), ImageHeader()], "no-image"),
        ([], "no-image"),
    ],
)
def test_what_is_no_stack_of_slices_has_its_own_kind(images: list[ImageHeader], kind: str) -> None:
    assert check_geometry(images).kind.value == kind


def test_an_invalid_orientation_does_not_end_the_check() -> None:
    images = [replace(image, orientation=(0.0,) * 6) for image in stack()]
    assert findings(check_geometry(images)) == {Finding.NO_POSITION: True}


def test_the_middle_slice_of_the_largest_stack_represents_a_series() -> None:
    scout = replace(stack()[0], image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    coronal = [replace(image, orientation=CORONAL) for image in stack(count=3)]
    assert representative([scout, *coronal, *stack()[::-1]]) == 4 + 2
    frontal = [ImageHeader(rows=9, columns=9, view=view) for view in ("LL", "PA", "")]
    assert representative(frontal) == 1
    assert representative([ImageHeader()]) is None


def test_a_geometry_is_the_same_after_the_cache() -> None:
    for images in (stack(), stack(0, 2.5, 5, 10), [ImageHeader()]):
        geometry = check_geometry(images)
        assert Geometry.from_dict(asdict(geometry)) == geometry
