"""What a download of packages would bring."""

from __future__ import annotations

from pathlib import Path

from tcia_covid.faspex import find_ascli
from tcia_covid.nifti.result import Standing
from tcia_covid.nifti.targets import refuse
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.plan.values import Amount, GroupPlan
from tcia_covid.registry import Collection
from tcia_covid.request import Request


def planned(collection: Collection, request: Request) -> tuple[GroupPlan, list[str]]:
    """Give what would be brought of a collection, and what else to tell of it.

    Raises:
        RequestError: packages cannot be asked for so.
    """
    refuse(collection, request)
    return _group(collection, request), _notices(collection)


def _group(collection: Collection, request: Request) -> GroupPlan:
    """A collection of volumes: a patient counts as a series, a volume as an image."""
    standing = Standing.of(VolumeTree(Path(request.output), collection))
    there = Amount(standing.patients, standing.volumes, standing.size)
    total = Amount(
        max(collection.patients or 0, there.series),
        max(collection.volumes or 0, there.images),
        max(collection.size or 0, there.size),
    )
    modalities = dict.fromkeys(collection.modalities[:1], total)
    return GroupPlan(
        collection.name, total.series, total.series, total, there, modalities=modalities
    )


def _notices(collection: Collection) -> list[str]:
    size = [] if collection.size else ["how many bytes its packages have is not on record"]
    program = find_ascli()
    tool = f"ascli, which receives its packages, is {program}"
    if program is None:
        tool = "ascli, which receives its packages, is not on PATH: 'download' says how to get it"
    page = collection.page or "www.cancerimagingarchive.net"
    counted = "a patient is counted as a series, a volume as an image"
    return [counted, *size, tool, f"its page: {page}"]
