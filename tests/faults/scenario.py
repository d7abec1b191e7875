"""A scenario: an archive with faults, a destination, and the download between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.events import Event
from tcia_covid.core.models import Receipt
from tcia_covid.core.summary import Summary
from tcia_covid.http.settings import HttpSettings
from tcia_covid.operations.download import download_request
from tcia_covid.selection.request import Options, Request
from tcia_covid.store.tree import Tree
from tests.fakes.corpus import Corpus, DemoSeries
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Fault, Faults
from tests.fakes.synthetic import synthetic_corpus
from tests.unit.archive_helpers import expected_files, files_of
from tests.waiting import LONG

NAME = "TRIAL"
QUICK = HttpSettings(
    retries=3,
    retry_wait=0.01,
    connect_timeout=LONG,
    stall_timeout=LONG,
    first_byte_timeout=LONG,
)


class Scenario:
    """An archive with one collection, and a folder to download it to."""

    def __init__(self, corpus: Corpus, server: ArchiveServer, faults: Faults, folder: Path) -> None:
        self.corpus = corpus
        self.server = server
        self.faults = faults
        self.folder = folder
        self.output = folder / "data"
        self.events: list[Event] = []
        self.url = server.base_url
        self.settings = QUICK

    @property
    def all_series(self) -> list[DemoSeries]:
        """Every series, the biggest first."""
        return sorted(self.corpus, key=lambda one: (-len(one.images), one.uid))

    @property
    def series(self) -> DemoSeries:
        """The first series."""
        return self.all_series[0]

    @property
    def tree(self) -> Tree:
        """The collection's folder."""
        return Tree(self.output / NAME)

    def registry(self, **facts: Any) -> str:
        """A registry file that knows the collection; gives its path."""
        lines = "".join(f"    {name}: {value}\n" for name, value in facts.items())
        path = self.folder / "registry.yaml"
        path.write_text(f"collections:\n  {NAME}:\n    format: DICOM\n{lines}", encoding="utf-8")
        return str(path)

    def download(
        self,
        *targets: str,
        stop: CancelToken | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
        **options: Any,
    ) -> Summary:
        """Run the download once, as the command line would."""

        def emit(event: Event) -> None:
            self.events.append(event)
            on_event(event)

        settings = {"source": "nbia", "nbia_url": self.url, "http": self.settings, "durable": False}
        settings["site_url"] = "http://127.0.0.1:9"  # nothing listens there
        request = Request(
            targets=targets or (NAME,),
            output=str(self.output),
            options=Options(**{**settings, **options}),
        )
        self.server.requests.clear()
        self.events.clear()
        return download_request(request, emit=emit, stop=stop)

    def add(self, *faults: Fault) -> None:
        """Let more go wrong."""
        self.faults.add(*faults)

    def heal(self) -> None:
        """Let nothing go wrong from now on."""
        self.faults.clear()

    def asked(self, endpoint: str) -> int:
        """Requests for `endpoint` in the last run."""
        return self.server.count(endpoint)

    def receipt(self, series: DemoSeries | None = None) -> Receipt:
        """The receipt of a complete series."""
        filed = self.tree.receipts.read((series or self.series).uid)
        assert filed is not None
        return filed.receipt

    def files(self) -> dict[str, str]:
        """The images in the tree with their MD5."""
        root = self.output / NAME
        return {name: md5 for name, md5 in files_of(root).items() if name.endswith(".dcm")}

    def series_with_one_image_more(self) -> DemoSeries:
        """The first series as the archive has it after another image was submitted."""
        other = synthetic_corpus(
            NAME, patients=1, series_per_patient=1, images_per_series=7, rows=256, columns=256
        )
        new = max(other, key=lambda series: len(series.images))
        return replace(self.series, images=(*self.series.images, new.images[6]))

    def image_file(self, number: int) -> Path:
        """The path of an image of the first series."""
        series = self.series
        folder = self.output / NAME / series.patient.id / series.study.uid / series.uid
        return folder / f"{series.images[number].uid}.dcm"

    def expected(self, *, without: tuple[str, ...] = ()) -> dict[str, str]:
        """The images that a complete tree has, without those of some series."""
        files: dict[str, str] = {}
        for series in self.corpus:
            if series.uid not in without:
                files |= expected_files(series)
        return files

    def assert_complete(self, summary: Summary) -> None:
        """All that was asked for is there and right."""
        assert summary.failures == []
        assert summary.exit_code == 0
        assert self.files() == self.expected()

    def assert_heals(self) -> None:
        """With an archive in order the same command ends with everything right."""
        self.heal()
        self.assert_complete(self.download())
        assert self.tree.series_in_staging() == set()


@contextmanager
def scenario(folder: Path, corpus: Corpus | None = None, **server: Any) -> Iterator[Scenario]:
    """A scenario over `corpus` (default: two series, of six and of one image)."""
    corpus = corpus or small_corpus()
    faults = Faults()
    options = {"compression": 1, "seed": None, **server}
    with ArchiveServer(corpus, interceptor=faults, **options) as running:
        yield Scenario(corpus, running, faults, folder)


def small_corpus() -> Corpus:
    """Two series: a CT of six images, and one radiograph."""
    corpus = synthetic_corpus(
        NAME, patients=1, series_per_patient=2, images_per_series=6, rows=256, columns=256
    )
    second = max(corpus, key=lambda one: one.uid)
    corpus.put(replace(second, images=second.images[:1], modality="CR"))
    return corpus
