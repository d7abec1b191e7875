"""The order of the images of a series, from their headers."""

from __future__ import annotations

import random

import pytest

from tcia_covid.core.models import ImageAttributes
from tcia_covid.formats.slice_order import slice_order

AXIAL = "1\\0\\0\\0\\1\\0"
CORONAL = "1\\0\\0\\0\\0\\-1"


def image(
    number: object = "", place: object = "", *, acquisition: object = "", plane: str = AXIAL
) -> ImageAttributes:
    position = f"-10.5\\7\\{place}" if place != "" else ""
    return ImageAttributes(
        number=str(number),
        acquisition=str(acquisition),
        position=position,
        orientation=plane if position else "",
    )


def order(*images: ImageAttributes) -> list[int]:
    return slice_order(images, [f"1.2.{index}" for index in range(len(images))])


def test_images_are_ordered_by_position_and_not_by_number():
    assert order(image(1, 30), image(2, -20.5), image(3, 10)) == [1, 2, 0]


def test_any_order_of_the_files_gives_the_same_order():
    images = [image(200 - n, -300 + 1.25 * n) for n in range(200)]
    mixed = random.Random(1).sample(images, len(images))

    assert [mixed[index] for index in order(*mixed)] == images


def test_the_normal_of_the_slices_counts_not_an_axis():
    first = ImageAttributes(number="1", position="0\\5\\0", orientation=CORONAL)
    second = ImageAttributes(number="2", position="0\\-5\\0", orientation=CORONAL)

    assert order(first, second) == [1, 0]  # the normal of this coronal plane points to +y


def test_two_acquisitions_at_the_same_positions_follow_each_other():
    images = [image(n, n % 3, acquisition=1 + n // 3) for n in range(6)]

    assert order(*reversed(images)) == [5, 4, 3, 2, 1, 0]


def test_an_acquisition_per_slice_does_not_change_the_order_by_position():
    assert order(image(1, 30, acquisition=1), image(2, 10, acquisition=2)) == [1, 0]


@pytest.mark.parametrize(
    "images",
    [
        [image(3), image(1), image(10)],  # radiographs
        [image(3, 1), image(1, 2, plane=CORONAL), image(10, 3)],  # localizers in two planes
        [image(3, 1), image(1), image(10, 3)],  # an image without a position
    ],
)
def test_without_one_common_direction_instance_numbers_count(images):
    assert order(*images) == [1, 0, 2]


def test_images_without_numbers_come_last_by_name():
    assert order(image(), image(5), image()) == [1, 0, 2]


def test_directions_that_differ_by_rounding_are_one():
    images = [image(1, 5), image(2, 3, plane="1\\0.0000001\\0\\0\\1\\0")]

    assert order(*images) == [1, 0]


@pytest.mark.parametrize("position", ["1\\2\\nan", "1\\2\\1e999", "1\\2", "a\\b\\c"])
def test_positions_that_are_no_numbers_are_ignored(position):
    bad = ImageAttributes(number="1", position=position, orientation=AXIAL)

    assert order(image(2, 1), bad) == [1, 0]


def test_no_images_have_no_order():
    assert slice_order([], []) == []
