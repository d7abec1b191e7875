"""Collects what the HTML report shows: the state of each collection, and every series in it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tcia_covid.catalog.citation import Reference, references
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import RequestError
from tcia_covid.core.events import Emit, ImagesChecked, Notice, discard
from tcia_covid.core.limits import processors
from tcia_covid.core.models import Check, Receipt, Series
from tcia_covid.core.parallel import parallel_map
from tcia_covid.core.version import utc_now
from tcia_covid.formats.geometry import Geometry
from tcia_covid.operations.report_images import ImageReader, SeriesImages
from tcia_covid.operations.status import CollectionStatus, StatusResult, read_status
from tcia_covid.store.discovery import find_trees
from tcia_covid.store.disk import Disk, succeeded
from tcia_covid.store.report_files import LicenseTerms, unregistered_collection
from tcia_covid.store.report_page import FILE, FOLDER, ReportPage
from tcia_covid.store.tree import Tree

EXTRA = ("numpy", "PIL", "pylibjpeg", "libjpeg", "openjpeg", "jinja2")
"""The packages of the extra `report`, as they are imported."""
SINGLE_FILE_SERIES = 1000
"""The page of more series is a folder: one file would have more than 6 MB of thumbnails."""
VIEWER = "https://viewer.imaging.datacommons.cancer.gov/v3/viewer/"
"""The OHIF viewer of the Imaging Data Commons."""
_MAX_JOBS = 8


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """One series of a collection's folder."""

    series: Series
    folder: str
    """Relative to the collection's folder, with forward slashes."""
    images: int
    size: int
    """Bytes."""
    check: Check
    """The weakest check among its images."""
    state: str
    """`complete`, `damaged` or `missing-files`."""
    shown: SeriesImages

    @property
    def geometry(self) -> Geometry | None:
        """Whether the images form a volume; None if their headers were not read."""
        return self.shown.geometry

    @property
    def viewer(self) -> str:
        """The address of the series in IDC's public viewer; empty if IDC does not have it."""
        series = self.series
        if not series.crdc_uuid:
            return ""
        return f"{VIEWER}?StudyInstanceUIDs={series.study}&SeriesInstanceUIDs={series.uid}"


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """One collection's folder."""

    status: CollectionStatus
    collection: Collection
    """Its entry in the registry, or what its series have in common."""
    references: list[Reference]
    series: list[SeriesReport]
    thumbnails: Path
    """The folder of the thumbnails."""

    @property
    def geometry_problems(self) -> list[SeriesReport]:
        """The series whose slices do not form a volume as they are."""
        return [
            series
            for series in self.series
            if series.geometry and any(p.prevents_volume for p in series.geometry.problems)
        ]

    @property
    def without_thumbnail(self) -> list[SeriesReport]:
        """The series that could not be read or decoded."""
        return [series for series in self.series if series.shown.problem]


@dataclass(frozen=True, slots=True)
class Report:
    """What the page shows."""

    directory: Path
    collections: list[CollectionReport]
    status: StatusResult
    created: str
    """UTC, ISO 8601."""

    @property
    def series(self) -> int:
        """The number of series."""
        return sum(len(collection.series) for collection in self.collections)


@dataclass(frozen=True, slots=True)
class ReportResult:
    """The page that was written, and what it shows."""

    page: Path
    """The file to open in a browser."""
    report: Report
    seconds: float


def check_extra() -> None:
    """Check that the packages of the extra `report` are installed.

    Raises:
        RequestError: one is missing.
    """
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise RequestError(
            f"'report' needs packages that are not installed: {', '.join(missing)}",
            hint="install them with: pip install 'tcia-covid[report]'",
        )


def find_place(directory: Path, target: Path | None) -> ReportPage:
    """Choose where the page is written, and check that no file of the user is there.

    `target` is where the user wants it; None means a place in `directory`.

    Raises:
        RequestError: there is no such folder, or a file of the user is in the way.
    """
    if target is None:
        series = sum(len(tree.receipts.uids()) for tree in find_trees(directory))
        target = directory / (FOLDER if series > SINGLE_FILE_SERIES else FILE)
    page = ReportPage.at(target, Disk(durable=False))
    page.check()
    return page


@contextmanager
def collect_report(
    directory: Path,
    registry: Registry,
    jobs: int | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
) -> Iterator[Report]:
    """Read receipts, headers and one image of each series, by default with at most 8 processes.

    Thumbnails may be in a temporary folder, which is removed at the end of the block.

    Raises:
        RequestError: this program did not create the folder.
        DestinationError: the program's own files in it cannot be read.
        TciaCovidError: the work was canceled.
    """
    stop = stop or CancelToken()
    status = read_status(directory, registry)
    reader = ImageReader(jobs or min(_MAX_JOBS, processors()))
    with closing(reader), ExitStack() as temporary:
        stop.on_stop(reader.close)
        collections = []
        for each in status.collections:
            tree = Tree(Path(each.folder))
            cache = tree.state / "thumbnails"
            is_made = succeeded(partial(reader.disk.make_folder, cache))
            if not (is_made and os.access(cache, os.W_OK)):
                text = f"{tree.state} is not writable: the next report makes its thumbnails again"
                emit(Notice(text))
                folder = tempfile.TemporaryDirectory(prefix="tcia-covid-")
                cache = Path(temporary.enter_context(folder))
            series = sorted(_series(tree, each, reader, cache, emit, stop), key=_order)
            terms = {LicenseTerms.of(one.series) for one in series}
            collection = registry.find(each.name) or registry.find(tree.root.name)
            collection = collection or unregistered_collection(each.name, terms)
            cited = list(references(collection, registry))
            collections.append(CollectionReport(each, collection, cited, series, cache))
        yield Report(directory, collections, status, utc_now())


def _series(
    tree: Tree,
    status: CollectionStatus,
    reader: ImageReader,
    cache: Path,
    emit: Emit,
    stop: CancelToken,
) -> Iterator[SeriesReport]:
    damaged, missing = set(status.damaged), set(status.missing_files)

    def look(receipt: Receipt) -> SeriesImages:
        if receipt.series.uid in missing:
            return SeriesImages(problem="files are missing: the next download repairs it")
        return reader.read(receipt, tree.path(receipt), cache)

    for receipt, shown in parallel_map(look, tree.receipts.all(), reader.jobs, stop):
        uid = receipt.series.uid
        state = "missing-files" if uid in missing else "complete"
        yield SeriesReport(
            series=receipt.series,
            folder=receipt.folder,
            images=len(receipt.images),
            size=receipt.size,
            check=receipt.check,
            state="damaged" if uid in damaged else state,
            shown=shown,
        )
        emit(ImagesChecked(receipt.size, len(receipt.images), "examined"))


def _order(report: SeriesReport) -> tuple[str, str, str, int, str]:
    series = report.series
    return series.patient, series.study_date or "", series.study, series.number or 0, series.uid
