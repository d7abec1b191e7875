"""Receiving one package: download it, install its volumes, receive damaged ones again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from tcia_covid.archives.aspera import AscliTransfer, AsperaPackage, TransferLock
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, FailureReason
from tcia_covid.core.events import BytesStored, Emit, Event, Notice, RequestRetried, SeriesFinished
from tcia_covid.core.models import Failure
from tcia_covid.http.retry import RetryPolicy
from tcia_covid.http.settings import HttpSettings
from tcia_covid.nifti.adopt import VolumeAdoption, install_volumes
from tcia_covid.nifti.scan import ScanResult, find_volumes
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.store.disk import UNUSABLE_JSON, read_json
from tcia_covid.store.free_space import folder_size
from tcia_covid.store.quarantine import set_aside

_ATTEMPTS = 2
"""How often a package is received if files in it are damaged."""
_SOURCE = "aspera"
_NOT_INSTALLED = ("damaged", "foreign", "unreadable", "conflict")
_FORMAT = 1
_MAX_PATHS = 200
"""Maximum number of volumes that are requested one by one instead of the whole package."""


@dataclass(slots=True)
class Receiver:
    """Receives one package, and installs its volumes."""

    program: str
    """`ascli`, with its folder."""
    folder: PackageFolder
    """Where it is received."""
    http: HttpSettings
    emit: Emit
    stop: CancelToken
    received: int = 0
    """Bytes that arrived in this run."""
    _conflicts: dict[str, str] = field(default_factory=dict)
    """Details, by the names of volumes that differ from the installed ones."""

    def run(self) -> list[Failure]:
        """Receive what is missing; return why volumes are not installed.

        Raises:
            RequestError: `ascli`, or its `ascp`, cannot be started.
            ArchiveError: the package did not arrive.
            LockedError: another run receives it.
            DestinationError: the disk.
            TciaCovidError: the run is to end.
        """
        folder, lock = self.folder, self.folder.lock()
        with lock:
            # An earlier run may have ended after it received files, before it installed them.
            result = None if folder.is_interrupted else self._install()
            for _ in range(_ATTEMPTS):
                missing = folder.missing()
                if missing is not None and not missing:
                    break
                self._receive(missing, lock)
                result = self._install()
            folder.remove_empty_folders()
        return self._failures(result) if result else []

    def _receive(self, missing: list[str] | None, lock: TransferLock) -> None:
        """Run `ascli` until it succeeds; any progress resets the retry counter.

        It is asked for the paths in `missing`; None means the whole package.
        """
        folder, settings = self.folder, self.http
        title = folder.package.title
        policy = RetryPolicy(
            settings,
            self.stop,
            lambda reason, wait: self.emit(RequestRetried(title, reason, wait)),
        )
        paths = missing if missing and len(missing) <= _MAX_PATHS else []
        folder.begin()
        while True:
            transfer = AscliTransfer(
                self.program,
                folder.package.url,
                folder.files,
                lock,
                self.stop,
                paths,
                max_rate=settings.max_rate,
                timeout=settings.first_byte_timeout,
                on_bytes=lambda count: self.emit(BytesStored(folder.package.key, count)),
                on_line=lambda line: self.emit(Notice(f"ascli: {line}")),
            )
            try:
                transfer.run()
                break
            except ArchiveError as error:
                if transfer.received:
                    policy.progressed()
                policy.failed(error)
            finally:
                self.received += transfer.received
        folder.finish(is_whole=missing is None)

    def _install(self) -> VolumeAdoption:
        """Move intact volumes into the tree, and the others into quarantine."""
        scanned = self.folder.scanned()
        result = install_volumes(
            scanned,
            self.folder.tree,
            mode="take",
            source=_SOURCE,
            emit=self._pass_on,
            stop=self.stop,
        )
        volumes = {file for files in scanned.volumes.values() for file in files}
        damaged = [file.file for file in result.rejected if file.reason in _NOT_INSTALLED]
        self.folder.set_aside([file for file in damaged if file in volumes])
        self._conflicts |= {
            file.file.rpartition("/")[2]: file.detail for file in result.of("conflict")
        }
        return result

    def _pass_on(self, event: Event) -> None:
        """Forward the outcomes of patients without their bytes, which were counted on arrival."""
        if isinstance(event, SeriesFinished):
            outcome = event.outcome
            self.emit(SeriesFinished(replace(outcome, series=replace(outcome.series, size=None))))

    def _failures(self, result: VolumeAdoption) -> list[Failure]:
        """Why patients or volumes of the package are not installed."""
        failures = list(result.failures)
        details = {file.file.rpartition("/")[2]: file.detail for file in result.rejected}
        for file in result.lost:
            hint = "it is kept in quarantine; the same command receives it again"
            name = self.folder.tree.pattern.read(file)
            subject = name.subject if name else ""
            detail = details.get(file, file)
            detail = f"{self.folder.subject}: {detail}"
            failures.append(Failure(subject, FailureReason.DAMAGED, detail, hint=hint))
        for file in sorted(self._conflicts.keys() & self.folder.tree.intact_files()):
            detail = f"{self.folder.subject}: {file}: {self._conflicts[file]}"
            hint = (
                "the package's is kept in quarantine: compare the two; to have the package's, "
                "remove the installed one and run the same command again"
            )
            failures.append(Failure("", FailureReason.CONFLICT, detail, hint=hint))
        return failures


class PackageFolder:
    """The folder of one package, in the state folder of its collection.

    `files` has what was received. `listing.json` lists what is in the package, once all of it was
    received. `receiving` exists while files may be half-written.
    """

    def __init__(self, tree: VolumeTree, package: AsperaPackage) -> None:
        self.tree = tree
        self.package = package
        self.folder = tree.state / "faspex" / package.key
        self.files = self.folder / "files"
        self._listing = self.folder / "listing.json"
        self._receiving = self.folder / "receiving"

    @property
    def subject(self) -> str:
        """The package in messages."""
        return f"package '{self.package.title}'"

    def lock(self) -> TransferLock:
        """The lock of the package."""
        self.tree.disk.make_folder(self.files)
        return TransferLock(self.folder / "lock", self.subject)

    @property
    def is_interrupted(self) -> bool:
        """Whether an earlier run began to receive and did not finish."""
        return self._receiving.exists()

    @property
    def size(self) -> int:
        """Bytes that were received and are not installed yet."""
        return folder_size(self.files)

    def missing(self) -> list[str] | None:
        """The paths of the volumes that are not installed; None if it was never received whole."""
        try:
            document = read_json(self._listing)
            listed = [path for path in document["files"] if isinstance(path, str)]
            is_known = document["format"] == _FORMAT
        except UNUSABLE_JSON:
            return None
        installed = self.tree.intact_files()
        missing = [path for path in listed if PurePosixPath(path).name not in installed]
        return missing if is_known else None

    def begin(self) -> None:
        """Record that files may be half-written from now on."""
        self.tree.write_file(self._receiving, self.package.title.encode())

    def note(self, failure: Failure | None) -> None:
        """Record for `status` why the package did not arrive, or that it did."""
        name = f"package-{self.package.key}"
        if failure is not None:
            self.tree.note_failure(failure, name)
            return
        with contextlib.suppress(OSError):
            self.tree.failures.clear(name)

    def finish(self, *, is_whole: bool) -> None:
        """Record that all requested files arrived, and whether that was the whole package."""
        if is_whole:
            volumes = sorted(self.scanned().volumes.items())
            paths = [f"/{files[0]}" for _, files in volumes]
            text = json.dumps({"format": _FORMAT, "files": paths}, indent=1)
            self.tree.write_file(self._listing, text.encode())
        self.tree.disk.remove(self._receiving)

    def scanned(self) -> ScanResult:
        """The volumes that were received."""
        return find_volumes(self.files, self.tree.pattern)

    def set_aside(self, files: Sequence[str]) -> None:
        """Move damaged files to quarantine, so that they are received again."""
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                set_aside(self.tree.disk, self.files / file, self.tree.quarantine / "packages")

    def remove_empty_folders(self) -> None:
        """Remove the folders that are empty once the volumes are installed."""
        for folder in sorted(self.files.rglob("*"), reverse=True):
            if folder.is_dir() and not folder.is_symlink():
                self.tree.disk.remove_empty(folder)
