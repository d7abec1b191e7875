"""What `doctor` checks of this machine: the output folder's file system, space, and limits."""

from __future__ import annotations

import contextlib
import secrets
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from tcia_covid.core.errors import ConfigError, LockedError
from tcia_covid.core.limits import affordable_jobs, open_files_limit
from tcia_covid.core.safe_names import MAX_UID
from tcia_covid.core.units import count, format_size
from tcia_covid.http.connection import uses_system_store
from tcia_covid.http.errors import ca_bundles
from tcia_covid.operations.doctor_facts import (
    Checks,
    Fact,
    FactError,
    Look,
    NotCheckedError,
    fact,
)
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
"""The measurement of the speed writes at most this part of the free space."""
_COLLECTION, _PATIENT = "COVID-19-NY-SBU", "MIDRC-RICORD-1A-419639-000082"
"""Folders with the longest names, or nearly the longest."""


class MachineChecks(Checks):
    """Limits and settings: open files for `jobs` series at once, and trusted authorities."""

    def __init__(self, jobs: int) -> None:
        super().__init__("machine")
        self.jobs = jobs

    @fact("open-files", optional=True)
    def _open_files(self) -> str:
        limit = open_files_limit()
        if limit is None:
            raise NotCheckedError("this system has no such limit")
        affordable = affordable_jobs(self.jobs)
        if affordable < self.jobs:
            raise FactError(
                f"the limit of {limit} open files permits {affordable} series at once, not "
                f"{self.jobs}",
                hint="raise it with 'ulimit -n 1024'; downloads use fewer --jobs until then",
            )
        return f"{limit} may be open; enough for {self.jobs} series at once"

    @fact("ca")
    def _ca(self) -> str:
        variable, bundle = next(ca_bundles(), ("", ""))
        if uses_system_store():
            return "the system's store, by the package truststore"
        path = bundle or DEFAULT_CA_BUNDLE_PATH
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if variable == "SSL_CERT_DIR":
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the CA bundle {path} named by {variable or 'certifi'} cannot be read",
                hint="set the variable to a PEM file with certificates, or unset it",
            ) from error
        known = count(len(context.get_ca_certs()), "certificate")
        return f"{known} in {path}, named by {variable}" if variable else f"{known} of certifi"


class DiskChecks(Checks):
    """The file system on which `output` is or would be created.

    All files are written into one new folder, `probes`, which is removed.
    """

    def __init__(self, output: Path, disk: Disk) -> None:
        super().__init__("disk")
        self.output = output
        self.disk = disk
        self.folder: Path | None = None
        self.probes = Path()

    def run(self) -> list[Fact]:
        """Check every fact, and remove what was written."""
        try:
            return super().run()
        finally:
            if self.probes.name:
                with contextlib.suppress(OSError):
                    self.disk.remove_folder(self.probes)

    def seen(self, each: Look) -> str:
        """Check one fact; any `OSError` shows that it is not true."""
        try:
            return super().seen(each)
        except OSError as error:
            raise destination_error(error, str(self.folder)) from error

    @fact("write")
    def _write(self) -> str:
        self.folder = existing_folder(self.output)
        if self.folder is None:
            raise FactError(f"neither {self.output} nor a folder above it can be found")
        self.probes = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.folder))
        content = secrets.token_bytes(64 * 1024)
        if self._create("written", content).read_bytes() != content:
            raise FactError(
                f"{self.folder} does not give back what was written to it",
                hint="check the file system before you store anything on it",
            )
        return f"files can be written to {self.folder}"

    @fact("rename", needs="write")
    def _rename(self) -> str:
        for name in ("staged", "taken"):
            self.disk.make_folder(self.probes / name)
            self._create(f"{name}/image", name.encode())
        self.disk.rename(self.probes / "staged", self.probes / "series")
        try:
            self.disk.rename(self.probes / "taken", self.probes / "series")
        except FileExistsError:
            pass
        else:
            raise FactError(
                "a folder was renamed over another one that has files in it",
                hint="let only one run at a time use this file system",
            )
        self.disk.replace(self._create("new", b"new"), self._create("old", b"old"))
        if (self.probes / "old").read_bytes() != b"new":
            raise FactError("a file that was renamed over another one is not in its place")
        return "folders and files change their names in one step"

    @fact("hard-link", needs="write", optional=True)
    def _hard_link(self) -> str:
        link = self.probes / "link"
        with _alternative("hard links", "'adopt' copies files, which takes their space again"):
            self.disk.link(self._create("linked", b"linked"), link)
            if link.stat().st_nlink < 2:  # noqa: PLR2004 - both names
                raise OSError("the link is a copy")
        return "files can have two names"

    @fact("reflink", needs="write", optional=True)
    def _reflink(self) -> str:
        with _alternative("copies that share blocks", "'adopt --copy' writes every byte"):
            self.disk.reflink(self._create("cloned", b"cloned"), self.probes / "clone")
        return "copies can share blocks"

    @fact("locks", needs="write", optional=True)
    def _locks(self) -> str:
        path = self.probes / "lock"
        with Lock(path, "the first"):
            try:
                with Lock(path, "the second"):
                    pass
            except LockedError:
                return "a locked file cannot be locked again"
        raise FactError(
            "locks have no effect on this file system: several runs in one folder may download "
            "the same series, which wastes bandwidth",
            hint="nothing is damaged; give each run its own --shard",
        )

    @fact("fsync", needs="write", optional=True)
    def _fsync(self) -> str:
        path = self._create("synced", secrets.token_bytes(1024))
        before = time.perf_counter()
        self.disk.sync_file(path)
        self.disk.sync_folder(self.probes)
        if self.disk.notices:
            raise FactError(self.disk.notices[0])
        return f"{1000 * (time.perf_counter() - before):.1f} ms for a small file"

    @fact("case", needs="write")
    def _case(self) -> str:
        self._create("case", b"")
        is_same = (self.probes / "CASE").exists()
        return f"names {'do not ' if is_same else ''}differ by case"

    @fact("long-paths", needs="write")
    def _long_paths(self) -> str:
        uid = "0" * MAX_UID
        parts = [_PATIENT, uid, uid, f"{uid}.dcm"]
        real = Path(self.output.absolute(), _COLLECTION, *parts)
        hint = "use an --output folder with a shorter path, or enable Windows' long paths"
        if not self.disk.can_open(real):
            raise FactError(
                f"paths below {self.output} may have {len(str(real))} characters, and programs "
                f"open {MAX_PATH} at most",
                hint=hint,
            )
        path = self.probes.joinpath(*parts)
        self.disk.make_folder(path.parent)
        self._create(str(path.relative_to(self.probes)), b"")
        return f"{len(str(path))} characters can be used"

    @fact("speed", needs="write")
    def _speed(self) -> str:
        free = free_bytes(self.probes)
        limit = _MAX_WRITTEN if free is None else min(_MAX_WRITTEN, free // _SPARE)
        if limit < _BLOCK:
            raise NotCheckedError("too little free space")
        block, written, begun = secrets.token_bytes(_BLOCK), 0, time.perf_counter()
        path = self.probes / "speed"
        with self.disk.create(path) as file:
            while written < limit and time.perf_counter() - begun < _SPEED_TIME:
                self.disk.write(file, block)
                written += len(block)
        self.disk.sync_file(path)
        rate = written / max(1e-6, time.perf_counter() - begun)
        self.disk.remove(path)
        return f"{format_size(round(rate))}/s, {format_size(written)} written and synced"

    @fact("space")
    def _space(self) -> str:
        free = free_bytes(self.folder) if self.folder else None
        if free is None:
            raise NotCheckedError("the file system does not report its free space")
        if free < reserve_of(0):
            raise FactError(
                f"{format_size(free)} free in {self.folder}",
                hint="free some space, or use another --output",
            )
        return f"{format_size(free)} free in {self.folder}"

    def _create(self, name: str, content: bytes) -> Path:
        path = self.probes / name
        with self.disk.create(path) as file:
            self.disk.write(file, content)
        return path


@contextmanager
def _alternative(what: str, instead: str) -> Iterator[None]:
    """Return what the program does if the file system cannot do something."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise FactError(f"no {what} ({reason}): {instead}") from error
