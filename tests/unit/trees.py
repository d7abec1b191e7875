"""Collections' folders as a download leaves them, made in a test without an archive."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tcia_covid.core.models import Check, Receipt, Series
from tcia_covid.store.disk import Disk
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import Tree
from tests.fakes.synthetic import ImageSpec, synthetic_image

ROOT = "1.2.826.0.1.3680043.10.77"
NAME = "COVID-19-AR"


def new_tree(directory: Path, name: str = NAME, disk: Disk | None = None) -> Tree:
    """An empty collection's folder."""
    tree = Tree(directory / name, disk=disk or Disk(durable=False))
    tree.prepare()
    return tree


def series_of(number: int, /, **facts: object) -> Series:
    """A series as listed; `facts` replace what it has otherwise."""
    known = {
        "uid": f"{ROOT}.{number}",
        "collection": NAME,
        "patient": f"PATIENT-{number}",
        "study": f"{ROOT}.{number}.9",
        "modality": "CT",
    }
    return Series(**{**known, **facts})


def image_of(series: Series, number: int) -> bytes:
    """The bytes of an image of `series`."""
    uid = f"{series.uid}.{number}"
    return synthetic_image(ImageSpec(uid, series.uid, series.study, series.patient, seed=number))


def stage(tree: Tree, series: Series, images: int) -> None:
    """Leave a series under way, as a run does that was cut off."""
    with tree.stage(series, lambda count: None) as staging:
        assert isinstance(staging, Staging)
        for number in range(1, images + 1):
            staging.receive([image_of(series, number)], source="nbia")


def grow(tree: Tree, series: Series, images: int = 3, *, check: Check = Check.MD5) -> Receipt:
    """Put a complete series into the tree."""
    with tree.stage(series, lambda count: None) as staging:
        assert isinstance(staging, Staging)
        for number in range(1, images + 1):
            staging.receive([image_of(series, number)], source="nbia")
        staging.prove(list(staging.images), check)
        return tree.commit(staging)


def files(tree: Tree, receipt: Receipt) -> list[Path]:
    """The images of a series, by name."""
    return sorted(tree.path(receipt).iterdir())


def md5_of(content: bytes) -> str:
    """The MD5 of some bytes."""
    return hashlib.md5(content).hexdigest()
