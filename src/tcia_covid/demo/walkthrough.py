"""The demonstration: the main job, an interruption, a resume, damage, repair, verification."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    EXIT_OK,
    EXIT_PARTIAL,
    EXIT_SIGINT,
    InterruptedRunError,
    UsageError,
)
from tcia_covid.core.events import Emit, Event, SeriesRetried, SeriesStarted, discard
from tcia_covid.core.summary import Summary
from tcia_covid.core.units import format_size
from tcia_covid.demo.corpus import Corpus, DemoSeries, demo_corpus
from tcia_covid.demo.exchange import Call, DisconnectError, Interceptor, Reply
from tcia_covid.demo.server import ArchiveServer
from tcia_covid.operations.download import download_request
from tcia_covid.operations.verify.verify import verify_directory
from tcia_covid.selection.request import Options, Request

Say = Callable[[str], None]
REGISTRY = Path(__file__).with_name("registry.yaml")
_SHARE = 0.9
"""How much of the ZIP still arrives."""


def run_walkthrough(
    directory: Path | None, *, say: Say, emit: Emit = discard, stop: CancelToken | None = None
) -> int:
    """Tell the whole story in `directory` (default: a new temporary folder); give an exit code.

    The archive is a server of this process on loopback; the downloads are those of
    `tcia-covid download`, against it.

    Raises:
        UsageError: the demonstration has been in `directory` before: nothing would be left to do.
    """
    output = Path(directory or tempfile.mkdtemp(prefix="tcia-covid-demo-"))
    corpus = demo_corpus()
    if any((output / one.name).exists() for one in corpus.collections):
        raise UsageError(
            f"the demonstration has been in {output} before",
            hint="name another folder, or remove that one",
        )
    several = [series for series in corpus if len(series.images) > 1]
    victim = max(several, key=lambda series: (series.size, series.uid))
    with ArchiveServer(corpus, interceptor=CutConnectionOnce(victim.uid)) as server:
        request = Request(
            targets=tuple(item.name for item in corpus.collections),
            output=str(output),
            options=Options(source="nbia", nbia_url=server.base_url, registry=(str(REGISTRY),)),
        )
        say(f"an archive of {_contents(corpus)} listens on {server.base_url}")
        story = _Walkthrough(request, output, victim, server, say, emit, stop or CancelToken())
        good = (
            story.interrupted()
            and story.resumed()
            and story.damaged()
            and story.mended()
            and story.proved()
        )
    say("" if good else "\nthe demonstration did not go as it should: please report it")
    say(f"the files are in {output}; remove that folder when you are done")
    return EXIT_OK if good else EXIT_PARTIAL


def serve(port: int, say: Say, stop: CancelToken | None = None) -> None:
    """Serve the demonstration archive until the run is stopped.

    Raises:
        OSError: the port is taken.
        TciaCovidError: the run was stopped.
    """
    stop = stop or CancelToken()
    with ArchiveServer(demo_corpus(), port=port) as server:
        say(server.base_url)
        while True:
            stop.wait(3600)


class _Walkthrough:
    def __init__(
        self,
        request: Request,
        output: Path,
        victim: DemoSeries,
        server: ArchiveServer,
        say: Say,
        emit: Emit,
        stop: CancelToken,
    ) -> None:
        self._request = request
        self._output = output
        self._victim = victim
        self._server = server
        self._say = say
        self._emit = emit
        self._stop = stop

    def interrupted(self) -> bool:
        """Start; the line breaks in the middle of a series, and somebody presses Ctrl-C."""
        self._say("\n1. download; the line is cut in the middle of a series, then comes Ctrl-C")
        ctrl_c = CancelToken()
        self._stop.on_stop(ctrl_c.set)

        def interrupt(event: Event) -> None:
            self._emit(event)
            if isinstance(event, SeriesRetried):
                ctrl_c.set(InterruptedRunError())

        summary = download_request(self._request, emit=interrupt, stop=ctrl_c)
        self._stop.check()
        self._tell(summary)
        return summary.exit_code == EXIT_SIGINT and summary.remaining > 0

    def resumed(self) -> bool:
        """The same command again: only what lacks is fetched."""
        self._say("\n2. the same command again: it goes on")
        kept: list[int] = []

        def watch(event: Event) -> None:
            if isinstance(event, SeriesStarted) and event.series.uid == self._victim.uid:
                kept.append(event.partial_images)
            self._emit(event)

        summary = download_request(self._request, emit=watch, stop=self._stop)
        self._tell(summary)
        self._say(
            f"   of the series that was cut, {sum(kept)} of {len(self._victim.images)} images were "
            "kept and not fetched again"
        )
        return summary.exit_code == EXIT_OK and sum(kept) > 0

    def damaged(self) -> bool:
        """One byte of one file changes; verify finds it."""
        self._say("\n3. one byte of one file changes on disk; verify finds it")
        longest = max(self._server.corpus, key=lambda series: (len(series.images), series.uid))
        file = min(self._output.rglob(f"{longest.uid}/*.dcm"))
        content = bytearray(file.read_bytes())
        content[-1] ^= 0xFF
        file.write_bytes(content)
        result = verify_directory(self._output, emit=self._emit, stop=self._stop)
        for damage in result.damage:
            self._say(f"   {damage.reason.value}: {damage.file}")
        return result.exit_code == EXIT_PARTIAL and len(result.damage) == 1

    def mended(self) -> bool:
        """Download mends just that image."""
        self._say("\n4. the same command again: it mends just that image")
        before = len(self._server.requests)
        summary = download_request(self._request, emit=self._emit, stop=self._stop)
        self._tell(summary)
        asked = [one.endpoint for one in self._server.requests[before:]]
        self._say(f"   asked for: {', '.join(sorted(set(asked)))}")
        return summary.exit_code == EXIT_OK and asked.count("getSingleImage") == 1

    def proved(self) -> bool:
        """Everything is as the archive has it."""
        self._say("\n5. verify reads every file again")
        result = verify_directory(self._output, emit=self._emit, stop=self._stop)
        self._say(
            f"   {result.series.intact} of {result.series.checked} series and "
            f"{result.images.intact} of {result.images.checked} images are intact"
        )
        return result.exit_code == EXIT_OK

    def _tell(self, summary: Summary) -> None:
        self._say(
            f"   {summary.complete} of {summary.selected} series complete "
            f"({summary.already_complete} were there), {summary.checked_md5} checked by MD5, "
            f"{format_size(summary.bytes_received)} received, exit code {summary.exit_code}"
        )
        for failure in summary.failures:
            self._say(f"   {failure.detail}")


def _contents(corpus: Corpus) -> str:
    images = [image for series in corpus for image in series.images]
    size = format_size(sum(image.size for image in images))
    return f"{len(corpus)} series, {len(images)} images ({size})"


class CutConnectionOnce(Interceptor):
    """Cuts the first ZIP of series `uid` shortly before its end."""

    def __init__(self, uid: str) -> None:
        self._uid = uid
        self._happened = False

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        """Cut the body of the request that is waited for."""
        reply = proceed()
        meant = call.endpoint == "getImage" and call.params.get("SeriesInstanceUID") == self._uid
        if meant and not self._happened:
            self._happened = True
            body = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)
            reply.body = _cut(body)
        return reply


def _cut(body: bytes) -> Iterator[bytes]:
    yield body[: int(len(body) * _SHARE)]
    raise DisconnectError
