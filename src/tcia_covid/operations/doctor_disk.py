"""What `doctor` checks of this machine: the output folder's file system, space, and limits."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tcia_covid.core.errors import LockedError
from tcia_covid.core.limits import affordable_jobs, open_files_limit
from tcia_covid.core.safe_names import MAX_UID
from tcia_covid.core.units import format_size
from tcia_covid.operations.doctor_facts import Fact, FactError, FactList, NotCheckedError
from tcia_covid.store.disk import Disk, destination_error
from tcia_covid.store.free_space import existing_folder, free_bytes, reserve_of
from tcia_covid.store.locks import Lock
from tcia_covid.store.windows import MAX_PATH

_PREFIX = ".tcia-covid-doctor-"
"""Of the folder that holds every file that is written; removed at the end."""
_BLOCK = 4 * 1024 * 1024
_SPEED_TIME = 2.0
"""Seconds to write for, at most, to measure the speed."""
_MAX_WRITTEN = 32 * 1024 * 1024
_SPARE = 3
"""Writes no more to measure the speed than this part of the free space."""
_COLLECTION, _PATIENT = "COVID-19-NY-SBU", "MIDRC-RICORD-1A-419639-000082"
"""Folders whose names are the longest, or nearly so."""


def check_disk(output: Path, disk: Disk | None = None) -> list[Fact]:
    """Check the file system on which `output` is or would be created.

    All files are written into one new folder, which is removed.
    """
    facts = FactList("disk")
    checks = _DiskChecks(output, disk or Disk())
    try:
        facts.check("write", checks.write)
        for name, look, optional in (
            ("rename", checks.rename, False),
            ("hard-link", checks.hard_link, True),
            ("reflink", checks.reflink, True),
            ("locks", checks.locks, True),
            ("fsync", checks.fsync, True),
            ("case", checks.case, False),
            ("long-paths", checks.long_paths, False),
            ("speed", checks.speed, False),
        ):
            facts.check(name, look, needs=["write"], optional=optional)
    finally:
        checks.remove()
    facts.check("space", checks.space)
    return facts.facts


def check_open_files(jobs: int) -> str:
    """Compare the limit of open files with what `jobs` series at once need.

    Raises:
        FactError: it permits fewer.
        NotCheckedError: this system has no such limit.
    """
    limit = open_files_limit()
    if limit is None:
        raise NotCheckedError("this system has no such limit")
    affordable = affordable_jobs(jobs)
    if affordable < jobs:
        raise FactError(
            f"the limit of {limit} open files permits {affordable} series at once, not {jobs}",
            hint="raise it with 'ulimit -n 1024'; downloads use fewer --jobs until then",
        )
    return f"{limit} may be open; enough for {jobs} series at once"


class _DiskChecks:
    """Looks at the file system of a folder; each method gives what it saw."""

    def __init__(self, output: Path, disk: Disk) -> None:
        self._output = output
        self._folder: Path | None = None
        self._disk = disk
        self._probes: Path | None = None

    @property
    def probes(self) -> Path:
        """The folder that holds every file that is written."""
        if self._probes is None:
            raise NotCheckedError("needs disk.write")
        return self._probes

    def remove(self) -> None:
        """Remove what was written."""
        if self._probes is not None:
            with contextlib.suppress(OSError):
                self._disk.remove_folder(self._probes)

    def write(self) -> str:
        """Write a file and read it."""
        self._folder = existing_folder(self._output)
        if self._folder is None:
            raise FactError(f"neither {self._output} nor a folder above it can be found")
        with _disk_errors(self._folder):
            self._probes = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._folder))
            content = secrets.token_bytes(64 * 1024)
            if self._write("written", content).read_bytes() != content:
                raise FactError(
                    f"{self._folder} does not give back what was written to it",
                    hint="check the file system before you store anything on it",
                )
        return f"files can be written to {self._folder}"

    def rename(self) -> str:
        """Rename a folder, and refuse to rename one over another."""
        with _disk_errors(self.probes):
            for name in ("staged", "taken"):
                self._disk.make_folder(self.probes / name)
                self._write(f"{name}/image", name.encode())
            self._disk.rename(self.probes / "staged", self.probes / "series")
            try:
                self._disk.rename(self.probes / "taken", self.probes / "series")
            except FileExistsError:
                pass
            else:
                raise FactError(
                    "a folder was renamed over another one that has files in it",
                    hint="let only one run at a time use this file system",
                )
            self._disk.replace(self._write("new", b"new"), self._write("old", b"old"))
            if (self.probes / "old").read_bytes() != b"new":
                raise FactError("a file that was renamed over another one is not in its place")
        return "folders and files change their names in one step"

    def hard_link(self) -> str:
        """Make a second name of a file."""
        link = self.probes / "link"
        with _alternative("hard links", "'adopt' copies files, which takes their space again"):
            self._disk.link(self._write("linked", b"linked"), link)
            if link.stat().st_nlink < 2:  # noqa: PLR2004 - both names
                raise OSError("the link is a copy")
        return "files can have two names"

    def reflink(self) -> str:
        """Make a copy that shares its blocks."""
        with _alternative("copies that share blocks", "'adopt --copy' writes every byte"):
            self._disk.reflink(self._write("cloned", b"cloned"), self.probes / "clone")
        return "copies can share blocks"

    def locks(self) -> str:
        """Lock a file twice."""
        path = self.probes / "lock"
        with _disk_errors(self.probes), Lock(path, "the first"):
            try:
                with Lock(path, "the second"):
                    pass
            except LockedError:
                return "a locked file cannot be locked again"
        raise FactError(
            "locks do not lock on this file system: several runs in one folder may download the "
            "same series, and one of them uses its bandwidth for nothing",
            hint="nothing is damaged; give each run its own --shard",
        )

    def fsync(self) -> str:
        """Force a file and its folder to the disk."""
        path = self._write("synced", secrets.token_bytes(1024))
        before = time.perf_counter()
        with _disk_errors(self.probes):
            self._disk.sync_file(path)
            self._disk.sync_folder(self.probes)
        if self._disk.notices:
            raise FactError(self._disk.notices[0])
        return f"{1000 * (time.perf_counter() - before):.1f} ms for a small file"

    def case(self) -> str:
        """See whether names differ in case alone."""
        with _disk_errors(self.probes):
            self._write("case", b"")
            is_same = (self.probes / "CASE").exists()
        return f"names {'do not ' if is_same else ''}differ by case"

    def long_paths(self) -> str:
        """Make a path as long as those in the tree."""
        uid = "0" * MAX_UID
        parts = [_PATIENT, uid, uid, f"{uid}.dcm"]
        real = Path(self._output.absolute(), _COLLECTION, *parts)
        hint = "use an --output folder with a shorter path, or enable Windows' long paths"
        if not self._disk.can_open(real):
            raise FactError(
                f"paths below {self._output} may have {len(str(real))} characters, and programs "
                f"open {MAX_PATH} at most",
                hint=hint,
            )
        with _disk_errors(self.probes):
            path = self.probes.joinpath(*parts)
            self._disk.make_folder(path.parent)
            self._write(str(path.relative_to(self.probes)), b"")
        return f"{len(str(path))} characters can be used"

    def speed(self) -> str:
        """Write for a short time."""
        free = free_bytes(self.probes)
        limit = _MAX_WRITTEN if free is None else min(_MAX_WRITTEN, free // _SPARE)
        if limit < _BLOCK:
            raise NotCheckedError("too little free space")
        block, written, begun = secrets.token_bytes(_BLOCK), 0, time.perf_counter()
        path = self.probes / "speed"
        with _disk_errors(self.probes):
            with self._disk.create(path) as file:
                while written < limit and time.perf_counter() - begun < _SPEED_TIME:
                    self._disk.write(file, block)
                    written += len(block)
            self._disk.sync_file(path)
        rate = written / max(1e-6, time.perf_counter() - begun)
        return f"{format_size(round(rate))}/s, {format_size(written)} written and synced"

    def space(self) -> str:
        """See how much is free."""
        free = free_bytes(self._folder) if self._folder else None
        if free is None:
            raise NotCheckedError("the file system does not report its free space")
        if free < reserve_of(0):
            raise FactError(
                f"{format_size(free)} free in {self._folder}",
                hint="free some space, or use another --output",
            )
        return f"{format_size(free)} free in {self._folder}"

    def _write(self, name: str, content: bytes) -> Path:
        path = self.probes / name
        with self._disk.create(path) as file:
            self._disk.write(file, content)
        return path


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise destination_error(error, str(folder)) from error


@contextmanager
def _alternative(what: str, instead: str) -> Iterator[None]:
    """Name what the program does where the file system cannot do something."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise FactError(f"no {what} ({reason}): {instead}") from error
