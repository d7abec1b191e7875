"""The story of one package: received, taken in, and what was not sound received again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tcia_covid.errors import ArchiveError
from tcia_covid.events import BytesStored, Emit, Event, Notice, RequestRetried, SeriesFinished
from tcia_covid.faspex import Transfer
from tcia_covid.faspex.transfer import TransferLock
from tcia_covid.http import Patience
from tcia_covid.model import Failure
from tcia_covid.nifti.inbox import Inbox, asked
from tcia_covid.nifti.result import VolumeAdoption
from tcia_covid.nifti.take import take_in
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.request import Request
from tcia_covid.stop import Stop

_ATTEMPTS = 2
"""How often a package is received where what came is not sound."""
_SOURCE = "aspera"
_UNSOUND = ("damaged", "foreign", "unreadable", "conflict")


class Receiver:
    """Receives one package, and has the volumes taken in.

    Args:
        program: `ascli`, with its folder.
        inbox: where it is received.
        tree: where the volumes belong.
        request: the options.
        emit: hears of progress.
        stop: ends it early.
    """

    def __init__(
        self,
        program: str,
        inbox: Inbox,
        tree: VolumeTree,
        request: Request,
        emit: Emit,
        stop: Stop,
    ) -> None:
        self._program = program
        self._inbox = inbox
        self._tree = tree
        self._options = request.options
        self._emit = emit
        self._stop = stop
        self._conflicts: dict[str, str] = {}
        """Details, by the names of volumes that came otherwise than they stand."""
        self.received = 0
        """Bytes that arrived in this run."""

    def run(self) -> list[Failure]:
        """Receive what lacks; gives why volumes are not there.

        Raises:
            RequestError: `ascli`, or its `ascp`, cannot be started.
            ArchiveError: the package did not arrive.
            HeldError: another run receives it.
            DestinationError: the disk.
            TciaCovidError: the run is to end.
        """
        inbox, lock = self._inbox, self._inbox.lock()
        result = VolumeAdoption()
        with lock:
            if not inbox.is_interrupted:
                result = self._take_in()  # of a run that ended between receiving and taking in
            for _ in range(_ATTEMPTS):
                lacking = inbox.lacking()
                if lacking is not None and not lacking:
                    break
                self._receive(asked(lacking), whole=lacking is None, lock=lock)
                result = self._take_in()
            inbox.tidy()
        return self._failures(result)

    def _receive(self, paths: Sequence[str], *, whole: bool, lock: TransferLock) -> None:
        """Have `ascli` run until it ends well; every byte that arrives renews the patience."""
        inbox, settings = self._inbox, self._options.http
        patience = Patience(settings, self._stop, self._on_retry)
        inbox.begin()
        while True:
            transfer = Transfer(
                self._program,
                inbox.package.url,
                inbox.files,
                lock,
                self._stop,
                paths,
                max_rate=settings.max_rate,
                patience=settings.first_byte_timeout,
                on_bytes=self._on_bytes,
                on_line=lambda line: self._emit(Notice(f"ascli: {line}")),
            )
            try:
                transfer.run()
                break
            except ArchiveError as error:
                if transfer.received:
                    patience.progressed()
                patience.failed(error)
            finally:
                self.received += transfer.received
        inbox.finish(whole=whole)

    def _take_in(self) -> VolumeAdoption:
        """Move what is sound into the tree; what is not is set aside."""
        finds = self._inbox.finds()
        result = take_in(
            finds, self._tree, mode="take", source=_SOURCE, emit=self._pass_on, stop=self._stop
        )
        volumes = {finds.shown(path) for paths in finds.volumes.values() for path in paths}
        unsound = [one.file for one in result.unfit if one.reason in _UNSOUND]
        self._inbox.set_aside([file for file in unsound if file in volumes])
        self._conflicts |= {
            one.file.rpartition("/")[2]: one.detail for one in result.of("conflict")
        }
        return result

    def _pass_on(self, event: Event) -> None:
        """Pass on how patients end: their bytes were counted as they arrived."""
        if isinstance(event, SeriesFinished):
            outcome = event.outcome
            self._emit(SeriesFinished(replace(outcome, series=replace(outcome.series, size=None))))

    def _on_bytes(self, count: int) -> None:
        self._emit(BytesStored(self._inbox.package.key, count))

    def _on_retry(self, reason: str, wait: float) -> None:
        self._emit(RequestRetried(self._inbox.package.title, reason, wait))

    def _failures(self, result: VolumeAdoption) -> list[Failure]:
        """Why patients, or volumes, of the package are not there."""
        failures = list(result.failures)
        details = {one.file.rpartition("/")[2]: one.detail for one in result.unfit}
        for file in result.lost:
            hint = "it is kept in quarantine; the same command receives it again"
            name = self._tree.pattern.read(file)
            subject = name.subject if name else ""
            detail = details.get(file, file)
            failures.append(self._failure(subject, "damaged", detail, hint))
        for file in sorted(self._conflicts.keys() & self._tree.standing_files()):
            detail = f"{file}: {self._conflicts[file]}"
            hint = (
                "the package's is kept in quarantine: compare the two; to have the package's, "
                "remove the one that stands and run the same command again"
            )
            failures.append(self._failure("", "conflict", detail, hint))
        return failures

    def _failure(self, subject: str, reason: str, detail: str, hint: str) -> Failure:
        return Failure(
            subject, reason, f"package '{self._inbox.package.title}': {detail}", (), hint
        )
