"""Folders of DICOM files to adopt, and what is in the layout afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tcia_covid.catalog.collections import Collection
from tcia_covid.operations.adopt import AdoptResult, adopt_folder
from tcia_covid.selection.request import Options
from tcia_covid.store.placement import Mode
from tests.fakes.corpus import Corpus, DemoSeries
from tests.fakes.nbia import ArchiveServer
from tests.unit.archive_helpers import QUICK, files_of

NAME = "SYNTHETIC"
COLLECTION = Collection(name=NAME, format="DICOM", title=NAME)


def options_of(server: ArchiveServer) -> Options:
    return Options(jobs=2, source="nbia", nbia_url=server.base_url, http=QUICK, durable=False)


def adopt(
    server: ArchiveServer,
    source: Path,
    data: Path,
    mode: Mode = "link",
    *,
    jobs: int = 2,
    **more: object,
) -> AdoptResult:
    options = replace(options_of(server), jobs=jobs)
    return adopt_folder(source, data, mode=mode, options=options, **more)  # type: ignore[arg-type]


def expected(series: DemoSeries, root: str = NAME) -> dict[str, str]:
    """The files of a series in the layout, with their MD5s."""
    folder = f"{root}/{series.patient.id}/{series.study.uid}/{series.uid}"
    return {f"{folder}/{image.uid}.dcm": (image.md5 or "").zfill(32) for image in series.images}


def images_in(data: Path) -> dict[str, str]:
    return {name: md5 for name, md5 in files_of(data).items() if name.endswith(".dcm")}


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def one_series(corpus: Corpus) -> DemoSeries:
    return min(corpus, key=lambda series: series.uid)


def any_file(source: Path) -> Path:
    return min(path for path in source.rglob("*.dcm"))


def file_with(source: Path, content: bytes) -> Path:
    return next(path for path in source.rglob("*.dcm") if path.read_bytes() == content)


def flip_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def without_last_image(series: DemoSeries) -> DemoSeries:
    return replace(series, images=series.images[:-1])
