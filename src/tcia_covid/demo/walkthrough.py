"""The guided demo: download, interrupt, resume, damage, repair, verify."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

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
from tcia_covid.demo.server import COLLECTIONS, DemoSeries, DemoServer, read_series
from tcia_covid.operations.download import download_request
from tcia_covid.operations.verify import verify_directory
from tcia_covid.selection.request import Options, Request

Show = Callable[[str], None]
"""Shows a line."""
REGISTRY = Path(__file__).with_name("registry.yaml")
"""The registry file that describes the collections of the demo archive."""


def run_walkthrough(
    directory: Path | None, *, show: Show, emit: Emit = discard, stop: CancelToken | None = None
) -> int:
    """Run all steps in `directory` (default: a new temporary folder) and return an exit code.

    The archive is a server of this process on loopback; the downloads are those of
    `tcia-covid download`.

    Raises:
        UsageError: the demo ran in `directory` before, so that nothing is left to download.
    """
    output = Path(directory or tempfile.mkdtemp(prefix="tcia-covid-demo-"))
    if any((output / name).exists() for name in COLLECTIONS):
        raise UsageError(
            f"the demo ran in {output} before", hint="name another folder, or remove that one"
        )
    series = read_series()
    several = [entry for entry in series if len(entry.images) > 1]
    cut = max(several, key=lambda entry: (entry.size, entry.uid))
    with DemoServer(series, cut=cut.uid) as server:
        show(f"a demo archive of {_contents(series)} listens on {server.base_url}")
        request = Request(
            targets=tuple(COLLECTIONS),
            output=str(output),
            options=Options(source="nbia", nbia_url=server.base_url, registry=(str(REGISTRY),)),
        )
        walkthrough = _Walkthrough(request, server, cut, show, emit, stop or CancelToken())
        passed = (
            walkthrough.interrupt()
            and walkthrough.resume()
            and walkthrough.damage()
            and walkthrough.repair()
            and walkthrough.verify()
        )
    if not passed:
        show("\nthe demo did not work as expected: please report it")
    show(f"\nthe files are in {output}; remove that folder when you are done")
    return EXIT_OK if passed else EXIT_PARTIAL


def serve(port: int, show: Show, stop: CancelToken) -> NoReturn:
    """Serve the demo archive until the run is canceled; show its base URL.

    Raises:
        UsageError: the port is in use.
        TciaCovidError: the run was canceled.
    """
    try:
        server = DemoServer(read_series(), port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot use port {port}: {reason}", hint="use --port 0") from error
    with server:
        show(server.base_url)
        while True:
            stop.wait(3600)


@dataclass(frozen=True, slots=True)
class _Walkthrough:
    """The steps; each returns whether it worked as expected."""

    request: Request
    server: DemoServer
    cut: DemoSeries
    """The connection is cut in its first ZIP."""
    show: Show
    emit: Emit
    stop: CancelToken

    def interrupt(self) -> bool:
        """Start a download; the connection is cut, then the run is interrupted as by Ctrl-C."""
        self.show("\n1. download; the connection is cut in the middle of a series, then Ctrl-C")
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
        self.show("\n2. the same command again: it resumes")
        kept: list[int] = []

        def watch(event: Event) -> None:
            if isinstance(event, SeriesStarted) and event.series.uid == self.cut.uid:
                kept.append(event.partial_images)
            self.emit(event)

        summary = download_request(self.request, emit=watch, stop=self.stop)
        self._report(summary)
        self.show(
            f"   {sum(kept)} of {len(self.cut.images)} images of the series that was cut were kept "
            "and not downloaded again"
        )
        return summary.exit_code == EXIT_OK and sum(kept) > 0

    def damage(self) -> bool:
        """Change one byte of one file; verify finds it."""
        self.show("\n3. one byte of one file changes on disk: verify finds it")
        longest = max(self.server.series.values(), key=lambda entry: (len(entry.images), entry.uid))
        file = min(Path(self.request.output).rglob(f"{longest.uid}/*.dcm"))
        content = bytearray(file.read_bytes())
        content[-1] ^= 0xFF
        file.write_bytes(content)
        result = verify_directory(Path(self.request.output), emit=self.emit, stop=self.stop)
        for damage in result.damage:
            self.show(f"   {damage.reason.value}: {damage.file}")
        return result.exit_code == EXIT_PARTIAL and len(result.damage) == 1

    def repair(self) -> bool:
        """Run the download again: it downloads only the damaged image."""
        self.show("\n4. the same command again: it repairs only that image")
        self.server.calls.clear()
        summary = download_request(self.request, emit=self.emit, stop=self.stop)
        self._report(summary)
        self.show(f"   requests: {', '.join(sorted(set(self.server.calls)))}")
        return summary.exit_code == EXIT_OK and self.server.calls.count("getSingleImage") == 1

    def verify(self) -> bool:
        """Verify every file."""
        self.show("\n5. verify re-checks every file against its recorded MD5")
        result = verify_directory(Path(self.request.output), emit=self.emit, stop=self.stop)
        self.show(
            f"   {result.series.intact} of {result.series.checked} series and "
            f"{result.images.intact} of {result.images.checked} images are intact"
        )
        return result.exit_code == EXIT_OK

    def _report(self, summary: Summary) -> None:
        self.show(
            f"   {summary.complete} of {summary.selected} series complete "
            f"({summary.already_complete} before this run), {summary.checked_md5} verified by MD5, "
            f"{format_size(summary.bytes_received)} received, exit code {summary.exit_code}"
        )
        for failure in summary.failures:
            self.show(f"   {failure.detail}")


def _contents(series: Sequence[DemoSeries]) -> str:
    images = sum(len(entry.images) for entry in series)
    size = format_size(sum(entry.size for entry in series))
    return f"{len(series)} series, {images} images ({size})"
