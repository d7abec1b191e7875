"""What is in the ZIP of a series: licence, images under the archive's names, MD5 table."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from tcia_covid.demo.holdings import DemoCollection, DemoImage, DemoSeries
from tcia_covid.demo.javazip import Entry

T = TypeVar("T")

AGREEMENT = """Data Usage Policy

Any user accessing this demonstration archive may use its files as their licence says: they are
test files of scanners, and no patient can be known from them.
"""


@dataclass(frozen=True, slots=True)
class BundleOptions:
    """Which of NBIA's ZIPs is wanted: the calls differ in these points."""

    licence: bool
    """Whether LICENSE comes first."""
    new_names: bool
    """`1-001.dcm` by InstanceNumber instead of `00000001.dcm` in the database's order."""
    md5: bool
    """Whether md5hashes.csv comes last."""
    nulls_as_text: bool = False
    """Whether a NULL digest becomes the word null, and the table keeps the entries' order."""


def bundle(
    series: DemoSeries,
    collection: DemoCollection,
    options: BundleOptions,
    order: random.Random | None,
) -> Iterator[Entry]:
    """The entries of the ZIP of `series`, in the order in which NBIA writes them."""
    if options.licence:
        yield licence_entry(collection)
    names = new_names(series.images) if options.new_names else _plain_names(series.images, order)
    sent: list[tuple[str, DemoImage]] = []
    for name, image in names:
        if image.md5 is None and options.md5 and not options.new_names:
            return  # the server's loop ends with a NullPointerException, which it swallows
        yield image_entry(name, image)
        sent.append((name, image))
    if options.md5:
        yield md5_entry(sent, None if options.nulls_as_text else order)


def image_entry(name: str, image: DemoImage) -> Entry:
    """The entry of one image; its file is read when the entry is written."""
    return Entry(name, (read() for read in (image.read,)), image)


def licence_entry(collection: DemoCollection) -> Entry:
    """NBIA's LICENSE."""
    text = (
        f"License Information. The {collection.name} collection is distributed under the "
        f"{collection.licence or 'Not Specified'} at {collection.licence_url or 'Not Specified'} "
        "By downloading the data, you agree to abide by terms of this license.\n"
    )
    return Entry("LICENSE", [(text + AGREEMENT).encode()])


def md5_entry(sent: Sequence[tuple[str, DemoImage]], order: random.Random | None) -> Entry:
    """NBIA's md5hashes.csv: stored digests as they are, in the order of a Java HashMap."""
    rows = shuffled(sent, order)
    lines = [f"{name},{'null' if image.md5 is None else image.md5}\n" for name, image in rows]
    return Entry("md5hashes.csv", [("Filename,MD5Hash\n" + "".join(lines)).encode()])


def shuffled(items: Iterable[T], order: random.Random | None) -> list[T]:
    """`items` in arbitrary order, or as they stand without `order`."""
    result = list(items)
    if order is not None:
        order.shuffle(result)
    return result


def _plain_names(
    images: Sequence[DemoImage], order: random.Random | None
) -> Iterator[tuple[str, DemoImage]]:
    for number, image in enumerate(shuffled(images, order), start=1):
        yield f"{number:08d}.dcm", image


def new_names(images: Sequence[DemoImage]) -> list[tuple[str, DemoImage]]:
    """Names `A-III.dcm`: A counts changes of AcquisitionNumber along the InstanceNumbers."""
    ordered = sorted(images, key=lambda image: image.number or 0)
    places: list[tuple[int, int]] = []
    previous: int | None = None
    for image in ordered:
        acquisition = image.acquisition or 0
        block, place = places[-1] if places else (0, 0)
        changed = not places or acquisition != previous
        places.append((block + 1, 1) if changed else (block, place + 1))
        previous = acquisition
    wide_block = len(str(places[-1][0])) if places else 1
    wide = len(str(_changes([image.number for image in ordered])))
    return [
        (f"{block:0{wide_block}d}-{place:0{wide}d}.dcm", image)
        for (block, place), image in zip(places, ordered, strict=True)
    ]


def _changes(numbers: Sequence[int | None]) -> int:
    """How often the value changes along the sequence, its start included."""
    return 1 + sum(before != after for before, after in pairwise(numbers))
