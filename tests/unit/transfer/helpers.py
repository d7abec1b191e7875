"""A scheduler in a test, on an archive that is a few functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from tcia_covid.archives.base import Archive, Sink
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import UnreachableError
from tcia_covid.core.events import Event, Notice
from tcia_covid.core.models import Outcome, RemoteImage, Series, State, StoredImage
from tcia_covid.http.settings import HttpSettings
from tcia_covid.store.locks import Lock
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.fetcher import TransferContext
from tcia_covid.transfer.scheduler import GRACE_PERIOD, Job, Scheduler
from tests.unit.trees import image_of, md5_of, series_of

SETTINGS = HttpSettings(retries=0, retry_wait=0, first_byte_timeout=0.4, outage_timeout=0)
IMAGES = 2


def listed(number: int, *, images: int = IMAGES) -> Series:
    """A series as the archive has it on record: its size is that of its images."""
    series = series_of(number)
    size = sum(len(image_of(series, n)) for n in range(1, images + 1))
    return replace(series, image_count=images, size=size)


@dataclass
class FakeArchive:
    """Has every series that it is asked for; `before` runs first, and may raise."""

    before: Callable[[Series], None] = lambda series: None
    asked: list[str] = field(default_factory=list)
    """The series that were streamed."""
    asked_images: list[str | None] = field(default_factory=list)
    name: str = "nbia"
    skips_known: bool = False
    connections_per_job: int = 1
    of_record: bool = True

    def has(self, series: Series) -> bool:
        return True

    def list_collection(self, collection: str) -> list[Series]:
        return []

    def list_series(self, uids: Iterable[str]) -> list[Series]:
        return []

    def images(self, series: Series) -> list[RemoteImage]:
        self.before(series)
        count = series.image_count or 0
        return [RemoteImage(uid=f"{series.uid}.{n}") for n in range(1, count + 1)]

    def receive_series(self, series: Series, sink: Sink) -> None:
        self.asked.append(series.uid)
        self.before(series)
        for number in range(1, (series.image_count or 0) + 1):
            sink.receive([image_of(series, number)], source=self.name)

    def receive_image(self, series: Series, image: RemoteImage, sink: Sink) -> StoredImage:
        self.asked_images.append(image.uid)
        self.before(series)
        content = image_of(series, int((image.uid or "").rpartition(".")[2]))
        return sink.receive([content], source=self.name, image=image)

    def image_md5(self, series: Series, uid: str) -> str | None:
        return md5_of(image_of(series, int(uid.rpartition(".")[2])))

    def series_md5(self, series: Series) -> str | None:
        return None


class Run:
    """One scheduler at work on one tree."""

    def __init__(
        self,
        tree: Tree,
        archive: Archive,
        workers: int = 2,
        settings: HttpSettings = SETTINGS,
        *,
        grace_period: float = GRACE_PERIOD,
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> None:
        self.tree = tree
        self.stop = CancelToken()
        self.events: list[Event] = []
        self.outcomes: list[Outcome] = []
        self.seconds = 0.0
        context = TransferContext(self.stop, settings, self.events.append)
        self.scheduler = Scheduler(
            [archive],
            context,
            workers,
            on_outcome or self.outcomes.append,
            poll_interval=0.05,
            grace_period=grace_period,
            outage_wait=0.02,
        )

    def __call__(self, series: Iterable[Series]) -> Run:
        started = time.monotonic()
        self.scheduler.run([Job(item, self.tree) for item in series])
        self.seconds = time.monotonic() - started
        return self

    @property
    def states(self) -> dict[str, State]:
        """How each series ended; a series that ended twice fails the test."""
        found = {outcome.series.uid: outcome.state for outcome in self.outcomes}
        assert len(found) == len(self.outcomes), "a series was reported twice"
        return found

    def states_of(self, series: Iterable[Series]) -> list[State | None]:
        return [self.states.get(item.uid) for item in series]

    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]


@contextmanager
def locked_by_another_run(tree: Tree, series: Series) -> Iterator[None]:
    """Another open file has the lock, as in another process."""
    with Lock(tree.state / "locks" / f"{series.uid}.lock", "the series"):
        yield


def raising(error: Exception, *uids: str) -> Callable[[Series], None]:
    """Fail for the series with these UIDs, or for all."""

    def before(series: Series) -> None:
        if not uids or series.uid in uids:
            raise error

    return before


def unreachable() -> UnreachableError:
    return UnreachableError("h refused the connection", retryable=True)
