"""The guided demo: download, interrupt, resume, damage, repair, verify."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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
from tcia_covid.demo.corpus import Corpus, demo_corpus
from tcia_covid.demo.endpoints import Call, DisconnectError, Reply
from tcia_covid.demo.server import ArchiveServer
from tcia_covid.operations.download import download_request
from tcia_covid.operations.verify import verify_directory
from tcia_covid.selection.request import Options, Request

Say = Callable[[str], None]
REGISTRY = Path(__file__).with_name("registry.yaml")
"""The registry file that describes the collections of the demo archive."""
_CUT_AT = 0.9
"""The fraction of the ZIP that arrives before the connection is cut."""


def run_walkthrough(
    directory: Path | None, *, say: Say, emit: Emit = discard, stop: CancelToken | None = None
) -> int:
    """Run all steps in `directory` (default: a new temporary folder) and return an exit code.

    The archive is a server of this process on loopback; the downloads are those of
    `tcia-covid download`.

    Raises:
        UsageError: the demo ran in `directory` before, so that nothing is left to download.
    """
    output = Path(directory or tempfile.mkdtemp(prefix="tcia-covid-demo-"))
    corpus = demo_corpus()
    if any((output / collection.name).exists() for collection in corpus.collections):
        raise UsageError(
            f"the demo ran in {output} before", hint="name another folder, or remove that one"
        )
    with _CuttingServer(corpus) as server:
        say(f"a demo archive of {_contents(corpus)} listens on {server.base_url}")
        request = Request(
            targets=tuple(collection.name for collection in corpus.collections),
            output=str(output),
            options=Options(source="nbia", nbia_url=server.base_url, registry=(str(REGISTRY),)),
        )
        walkthrough = _Walkthrough(request, server, say, emit, stop or CancelToken())
        passed = (
            walkthrough.interrupt()
            and walkthrough.resume()
            and walkthrough.damage()
            and walkthrough.repair()
            and walkthrough.verify()
        )
    say("" if passed else "\nthe demo did not work as expected: please report it")
    say(f"the files are in {output}; remove that folder when you are done")
    return EXIT_OK if passed else EXIT_PARTIAL


def serve(port: int, say: Say, stop: CancelToken | None = None) -> None:
    """Serve the demo archive until the run is cancelled.

    Raises:
        OSError: the port is in use.
        TciaCovidError: the run was cancelled.
    """
    stop = stop or CancelToken()
    with ArchiveServer(demo_corpus(), port=port) as server:
        say(server.base_url)
        while True:
            stop.wait(3600)


class _CuttingServer(ArchiveServer):
    """Cuts the connection once, shortly before the end of the ZIP of the largest series."""

    def __init__(self, corpus: Corpus) -> None:
        super().__init__(corpus)
        several = [series for series in corpus if len(series.images) > 1]
        self.victim = max(several, key=lambda series: (series.size, series.uid))
        self._cut = False

    def answer(self, call: Call) -> Reply:
        reply = super().answer(call)
        wanted = call.params.get("SeriesInstanceUID") == self.victim.uid
        if wanted and call.endpoint == "getImage" and not self._cut:
            self._cut = True
            reply.body = _cut(reply.body)
        return reply


def _cut(body: bytes | Iterable[bytes]) -> Iterator[bytes]:
    whole = b"".join([body] if isinstance(body, bytes) else body)
    yield whole[: int(len(whole) * _CUT_AT)]
    raise DisconnectError


@dataclass(frozen=True, slots=True)
class _Walkthrough:
    """The steps; each returns whether it worked as expected."""

    request: Request
    server: _CuttingServer
    say: Say
    emit: Emit
    stop: CancelToken

    def interrupt(self) -> bool:
        """Start a download; the connection is cut, then the run is interrupted as by Ctrl-C."""
        self.say("\n1. download; the connection is cut in the middle of a series, then Ctrl-C")
        ctrl_c = CancelToken()
        self.stop.on_stop(ctrl_c.set)

        def interrupt(event: Event) -> None:
            self.emit(event)
            if isinstance(event, SeriesRetried):
                ctrl_c.set(InterruptedRunError())

        summary = download_request(self.request, emit=interrupt, stop=ctrl_c)
        self.stop.check()
        self._report(summary)
        return summary.exit_code == EXIT_SIGINT and summary.remaining > 0

    def resume(self) -> bool:
        """Run the same command again: it downloads only what is missing."""
        self.say("\n2. the same command again: it resumes")
        victim = self.server.victim
        kept: list[int] = []

        def watch(event: Event) -> None:
            if isinstance(event, SeriesStarted) and event.series.uid == victim.uid:
                kept.append(event.partial_images)
            self.emit(event)

        summary = download_request(self.request, emit=watch, stop=self.stop)
        self._report(summary)
        self.say(
            f"   {sum(kept)} of {len(victim.images)} images of the series that was cut were kept "
            "and not downloaded again"
        )
        return summary.exit_code == EXIT_OK and sum(kept) > 0

    def damage(self) -> bool:
        """Change one byte of one file; verify finds it."""
        self.say("\n3. one byte of one file changes on disk: verify finds it")
        longest = max(self.server.corpus, key=lambda series: (len(series.images), series.uid))
        file = min(Path(self.request.output).rglob(f"{longest.uid}/*.dcm"))
        content = bytearray(file.read_bytes())
        content[-1] ^= 0xFF
        file.write_bytes(content)
        result = verify_directory(Path(self.request.output), emit=self.emit, stop=self.stop)
        for damage in result.damage:
            self.say(f"   {damage.reason.value}: {damage.file}")
        return result.exit_code == EXIT_PARTIAL and len(result.damage) == 1

    def repair(self) -> bool:
        """Run the download again: it downloads only the damaged image."""
        self.say("\n4. the same command again: it repairs only that image")
        before = len(self.server.requests)
        summary = download_request(self.request, emit=self.emit, stop=self.stop)
        self._report(summary)
        endpoints = [call.endpoint for call in self.server.requests[before:]]
        self.say(f"   requests: {', '.join(sorted(set(endpoints)))}")
        return summary.exit_code == EXIT_OK and endpoints.count("getSingleImage") == 1

    def verify(self) -> bool:
        """Verify every file."""
        self.say("\n5. verify re-checks every file against its recorded MD5")
        result = verify_directory(Path(self.request.output), emit=self.emit, stop=self.stop)
        self.say(
            f"   {result.series.intact} of {result.series.checked} series and "
            f"{result.images.intact} of {result.images.checked} images are intact"
        )
        return result.exit_code == EXIT_OK

    def _report(self, summary: Summary) -> None:
        self.say(
            f"   {summary.complete} of {summary.selected} series complete "
            f"({summary.already_complete} before this run), {summary.checked_md5} verified by MD5, "
            f"{format_size(summary.bytes_received)} received, exit code {summary.exit_code}"
        )
        for failure in summary.failures:
            self.say(f"   {failure.detail}")


def _contents(corpus: Corpus) -> str:
    images = [image for series in corpus for image in series.images]
    size = format_size(sum(image.size for image in images))
    return f"{len(corpus)} series, {len(images)} images ({size})"
