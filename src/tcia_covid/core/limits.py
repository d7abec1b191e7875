"""Limits of this process: open files, threads, memory."""

from __future__ import annotations

import errno
import os
import sys

from tcia_covid.core.errors import ResourceLimitError

if sys.platform == "win32":

    def open_files_limit() -> int | None:
        """None: Windows has no such limit that a process reaches."""
        return None

else:
    import resource  # here, as it cannot be imported once no file can be opened

    def open_files_limit() -> int | None:
        """The number of files that the process can have open; None if that is not limited."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return None if limit == resource.RLIM_INFINITY else limit


_BASE_FILES = 24
"""Other descriptors than those of the workers: streams, logs, catalogs, modules being imported."""
_FILES_PER_JOB = 8
"""Connections, the files being written, the locks, folders being synced; IDC: two of each."""


def limit_error(error: BaseException) -> ResourceLimitError | None:
    """The error for the user if `error` reports a limit of this machine; else None."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, ResourceLimitError):
        return error
    is_import = isinstance(error, ImportError) and os.strerror(errno.EMFILE) in str(error)
    if number in (errno.EMFILE, errno.ENFILE) or is_import:
        limit = open_files_limit()
        return ResourceLimitError(
            f"too many open files{f': the limit is {limit}' if limit else ''}",
            hint="raise the limit (ulimit -n), or use fewer --jobs",
        )
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return ResourceLimitError(
            "the system permits no more threads",
            hint="raise the limit of processes (ulimit -u) or memory (ulimit -v), or that of the "
            "container; or use fewer --jobs",
        )
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        return ResourceLimitError(
            "not enough memory",
            hint="raise the limit (ulimit -v, or that of the container or batch job), or use fewer "
            "--jobs",
        )
    return None


def affordable_jobs(jobs: int) -> int:
    """At most `jobs`, and no more than the limit of open files permits."""
    limit = open_files_limit()
    return min(jobs, max(1, (limit - _BASE_FILES) // _FILES_PER_JOB)) if limit else jobs


def processors() -> int:
    """The number of processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1
