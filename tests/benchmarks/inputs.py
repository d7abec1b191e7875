"""What the benchmarks download: made once, kept in a cache folder outside of the repository."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.benchmarks.pixel_data import PIXEL_HEAD, Plane, planes
from tests.benchmarks.zips import Member, Place, image_member, in_chunks, write_zip
from tests.fakes.synthetic import ROOT, ImageSpec, synthetic_header

_FORMAT = 3
"""Changes when older caches no longer serve."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A collection: so many series of so many images of one size."""

    name: str
    series: int
    images: int
    rows: int
    columns: int
    modality: str = "CT"
    deviation: float = 16.0
    planes: int = 40
    """Different pixel data; each image has a header of its own."""
    plain: bool = False
    """Whether the ZIPs are also kept as files, for the limits."""
    empty: bool = False
    """Whether only the list is made."""

    @property
    def collection(self) -> str:
        """The collection's name in the archive."""
        return f"BENCH-{self.name.upper()}"

    def scaled(self, factor: float) -> Recipe:
        """The same with fewer or more: images where there are several a series, else series."""
        if self.images > 1:
            return replace(self, images=max(2, round(self.images * factor)))
        return replace(self, series=max(8, round(self.series * factor)))


CT = Recipe("ct", series=24, images=80, rows=512, columns=512, plain=True)
RADIOGRAPHS = Recipe(
    "cr", series=300, images=1, rows=3000, columns=2500, modality="CR", deviation=25, planes=4
)
TINY = Recipe("tiny", series=2000, images=1, rows=64, columns=64, modality="CR")
LARGE = Recipe("large", series=1, images=2464, rows=512, columns=512, plain=True)
MANY = Recipe("many", series=20_000, images=1, rows=64, columns=64, modality="CR", empty=True)


@dataclass(frozen=True, slots=True)
class Input:
    """A collection that is ready in its folder."""

    recipe: Recipe
    folder: Path

    @property
    def uids(self) -> list[str]:
        """SeriesInstanceUIDs."""
        return [_series_uid(number) for number in range(1, self.recipe.series + 1)]

    @property
    def images(self) -> int:
        """Images of all series."""
        return self.recipe.series * self.recipe.images

    @property
    def size(self) -> int:
        """Bytes of all images."""
        return sum(
            item["FileSize"] for item in json.loads((self.folder / "list.json").read_bytes())
        )

    def body(self, uid: str) -> Path:
        """What the server sends for a series, framing and all."""
        return self.folder / "bodies" / uid

    def zip(self, uid: str) -> Path:
        """The ZIP of a series."""
        return self.folder / "zips" / uid

    def places(self, uid: str) -> list[Place]:
        """Where the images lie in the ZIP of a series."""
        rows = json.loads((self.folder / "places" / uid).read_text())
        return [Place(*row) for row in rows]

    @property
    def sent(self) -> int:
        """Bytes on the wire."""
        return sum(self.body(uid).stat().st_size for uid in self.uids)


def prepare(recipe: Recipe, cache: Path) -> Input:
    """Make a collection, unless the cache has it."""
    shape = f"{recipe.series}x{recipe.images}x{recipe.rows}x{recipe.columns}"
    folder = cache / f"{recipe.name}-{shape}-{_FORMAT}"
    made = Input(recipe, folder)
    if (folder / "done").exists():
        return made
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("bodies", "zips", "places"):
        (folder / name).mkdir(parents=True)
    (folder / "list.json").write_text(json.dumps([row(recipe, uid) for uid in made.uids]))
    if not recipe.empty:
        pool = list(planes(_pool(recipe), recipe.rows, recipe.columns, deviation=recipe.deviation))
        for number, uid in enumerate(made.uids):
            _write_series(made, uid, pool, number)
    (folder / "done").write_text(json.dumps(asdict(recipe)))
    return made


def row(recipe: Recipe, uid: str) -> dict[str, object]:
    """A row of getSeries, v4."""
    number = int(uid.rpartition(".")[2])
    return {
        "SeriesInstanceUID": uid,
        "StudyInstanceUID": f"{ROOT}.7.{number}",
        "Modality": recipe.modality,
        "SeriesDate": "02-03-1901",
        "StudyDate": "02-03-1901",
        "SeriesDescription": f"CHEST {number}",
        "BodyPartExamined": "CHEST",
        "SeriesNumber": number,
        "Collection": recipe.collection,
        "PatientId": _patient(recipe, number),
        "Manufacturer": "ACME",
        "ManufacturerModelName": "Phantom 1",
        "ImageCount": recipe.images,
        "FileSize": sum(image_size(recipe, uid, place) for place in range(1, recipe.images + 1)),
        "LicenseName": "Creative Commons Attribution 4.0 International License",
        "LicenseURI": "https://creativecommons.org/licenses/by/4.0/",
        "CollectionURI": "https://doi.org/10.7937/bench",
        "DateReleased": "06-01-2021",
        "ThirdPartyAnalysis": "NO",
    }


def image_uid(series: str, number: int) -> str:
    """The SOPInstanceUID of an image of a series, counted from 1."""
    return f"{series}.{number}"


def image_header(recipe: Recipe, uid: str, number: int) -> bytes:
    """The file of an image up to its pixel data."""
    place = int(uid.rpartition(".")[2])
    spec = ImageSpec(
        image_uid(uid, number),
        uid,
        f"{ROOT}.7.{place}",
        _patient(recipe, place),
        recipe.modality,
        number,
        f"CHEST {place}",
        recipe.rows,
        recipe.columns,
    )
    return synthetic_header(spec)


def image_size(recipe: Recipe, uid: str, number: int) -> int:
    """Bytes of an image's file."""
    return len(image_header(recipe, uid, number)) + PIXEL_HEAD + 2 * recipe.rows * recipe.columns


def _write_series(made: Input, uid: str, pool: Sequence[Plane], seed: int) -> None:
    places: list[Place] = []
    pieces = write_zip(_members(made.recipe, uid, pool, seed), places)
    if made.recipe.plain:
        made.zip(uid).write_bytes(content := b"".join(pieces))
        pieces = iter([content])
    with made.body(uid).open("wb") as file:
        file.writelines(in_chunks(pieces))
    rows = [(place.offset, place.packed, place.size) for place in places]
    (made.folder / "places" / uid).write_text(json.dumps(rows))


def _members(recipe: Recipe, uid: str, pool: Sequence[Plane], seed: int) -> Iterator[Member]:
    for number in range(1, recipe.images + 1):
        plane = pool[(seed * 7 + number) % len(pool)]
        yield image_member(number, image_header(recipe, uid, number), plane)


def _pool(recipe: Recipe) -> int:
    return min(recipe.planes, recipe.series * recipe.images)


def _series_uid(number: int) -> str:
    # As many digits for each: files of all images have the same size then.
    return f"{ROOT}.8.{100_000 + number}"


def _patient(recipe: Recipe, number: int) -> str:
    return f"{recipe.collection}-{number % 1000:04d}"
