"""Every error that a user can see: its type, exit code, message and hint ("did you mean …?")."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple

EXIT_OK = 0
EXIT_PARTIAL = 1
EXIT_REQUEST = 2
EXIT_ARCHIVE = 3
EXIT_DESTINATION = 4
EXIT_SIGHUP = 129
EXIT_SIGINT = 130
EXIT_SIGTERM = 143


class ExitCode(NamedTuple):
    """The meaning of an exit code, and what the user can do."""

    codes: tuple[int, ...]
    meaning: str
    advice: str = ""


EXIT_CODES = (
    ExitCode((EXIT_OK,), "everything requested is present, complete and verified"),
    ExitCode(
        (EXIT_PARTIAL,),
        "finished, but some series failed, are incomplete, or (verify) damaged: each is listed",
        "run again later; 'tcia-covid status data' shows failed series, but not series that no "
        "archive lists",
    ),
    ExitCode(
        (EXIT_REQUEST,),
        "the request is invalid: unknown collection or option, broken manifest or config, "
        "license refused",
        "read the message; 'tcia-covid list'",
    ),
    ExitCode(
        (EXIT_ARCHIVE,),
        "no archive could be reached, or none gave a usable response; never if this run received "
        "images",
        "check the network, proxy, CA bundle; try later",
    ),
    ExitCode(
        (EXIT_DESTINATION,),
        "problem with the destination: no space, no permission, locked by another run",
        "free space, or use another '--output'",
    ),
    ExitCode(
        (EXIT_SIGHUP, EXIT_SIGINT, EXIT_SIGTERM),
        "interrupted (SIGHUP, SIGINT, SIGTERM); complete series are kept",
        "run the same command again to continue",
    ),
)
"""Every exit code of the commands; README has the same table."""


class FailureReason(str, Enum):
    """Why a series, a list or a file is missing: codes for programs, stable over time."""

    INCOMPLETE = "incomplete"
    CHECKSUM = "checksum"
    WRONG_SERIES = "wrong-series"
    CONFLICT = "conflict"
    CHANGED = "changed"
    LOCKED = "locked"
    IN_USE = "in-use"
    PATH_TOO_LONG = "path-too-long"
    NOT_AVAILABLE = "not-available"
    NOT_LISTED = "not-listed"
    INCOMPLETE_LIST = "incomplete-list"
    DAMAGED = "damaged"
    MISSING = "missing"
    ARCHIVE_ERROR = "archive-error"
    UNEXPECTED = "unexpected"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


class TciaCovidError(Exception):
    """Base class of all errors that this package raises.

    Attributes:
        exit_code: of the command, if this error ends the run.
        hint: what the user can do next, in one sentence, or empty.
        reason: a code for programs, stable over time, where the error is a failure of a result.
        missing: SOPInstanceUIDs of missing images, or IDC's keys where the UID is not known.
    """

    exit_code = EXIT_PARTIAL
    reason = FailureReason.FAILED
    missing: tuple[str, ...] = ()

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> Any:
        # Constructors differ: a worker process sends the values.
        return _restored, (type(self), self.args, vars(self))

    @property
    def message(self) -> str:
        """What happened, and to what: one sentence without the hint."""
        return str(self.args[0])


def _restored(
    kind: type[TciaCovidError], args: tuple[object, ...], values: dict[str, object]
) -> TciaCovidError:
    error = kind.__new__(kind, *args)
    vars(error).update(values)
    return error


class RequestError(TciaCovidError):
    """The request cannot be carried out as asked."""

    exit_code = EXIT_REQUEST


class UsageError(RequestError):
    """An option or a combination of options is invalid."""


class UnknownCollectionError(RequestError):
    """A target is not a known collection, manifest or series."""


class NotDicomError(RequestError):
    """The collection exists, but is not available as DICOM series.

    Attributes:
        commands: what the user can run instead, in order; may be empty.
    """

    def __init__(self, message: str, *, hint: str = "", commands: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.commands = tuple(commands)


class ManifestError(RequestError):
    """A manifest cannot be read; the message has the line number."""


class RegistryError(RequestError):
    """A registry file violates the schema; the message has the line number."""


class ConfigError(RequestError):
    """A configuration file or environment variable cannot be used."""


class LicenseRefusedError(RequestError):
    """The license of a collection forbids the declared use."""


class ArchiveError(TciaCovidError):
    """An archive could not be reached or gave no usable response.

    Attributes:
        retryable: whether another attempt may succeed.
        retry_after: seconds to wait, as the archive demanded, or None.
        push_back: whether the archive says that it is overloaded.
        spent: whether all attempts were used already.
        attempts: how many attempts this error counts for.
    """

    exit_code = EXIT_ARCHIVE
    reason = FailureReason.ARCHIVE_ERROR
    spent = False
    attempts = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retryable: bool = False,
        retry_after: float | None = None,
        push_back: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable
        self.retry_after = retry_after
        self.push_back = push_back


class UnreachableError(ArchiveError):
    """No connection: name resolution, refusal, routing, proxy."""


class PausedError(UnreachableError):
    """No request was sent: the host asked for a pause that is not over."""

    def __init__(self, host: str, seconds: float) -> None:
        super().__init__(
            f"{host} asked for a pause of {seconds:.0f} more seconds",
            hint="try again later",
            retryable=True,
            retry_after=seconds,
        )


class TlsError(ArchiveError):
    """The archive's certificate is not trusted."""


class RedirectError(ArchiveError):
    """The archive redirected to an address that this program does not follow."""


class ConnectionLostError(ArchiveError):
    """The connection broke, stalled or was too slow in the middle of a response."""


class ResponseTimeoutError(ConnectionLostError):
    """No response began within the first-byte timeout."""


class StatusError(ArchiveError):
    """The archive responded with an HTTP error status.

    Attributes:
        status: the HTTP status code.
        body: the first characters of the response.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        body: str = "",
        hint: str = "",
        retryable: bool = False,
        retry_after: float | None = None,
        push_back: bool = False,
    ) -> None:
        super().__init__(
            message, hint=hint, retryable=retryable, retry_after=retry_after, push_back=push_back
        )
        self.status = status
        self.body = body

    @property
    def is_denial(self) -> bool:
        """Whether the server does not provide what was requested; no retry helps."""
        return self.status in (401, 403, 404, 410)


class NotAvailableError(ArchiveError):
    """The archive does not have, or does not provide, the requested series or image."""

    reason = FailureReason.NOT_AVAILABLE


class BadResponseError(ArchiveError):
    """The status is 200, but the content is wrong (an HTML page, truncated JSON, an empty list)."""


class ZipError(ArchiveError):
    """A ZIP stream is damaged, hostile, or not a ZIP."""


class TruncatedZipError(ZipError):
    """A ZIP stream ended before its end record."""


class SeriesError(TciaCovidError):
    """One series could not be completed; the others continue."""

    def __init__(self, message: str, *, hint: str = "", missing: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.missing = missing


class IncompleteSeriesError(SeriesError):
    """Images of the series are missing, and the archive does not provide them."""

    reason = FailureReason.INCOMPLETE


class ChecksumError(SeriesError):
    """An image repeatedly differs from the archive's MD5."""

    reason = FailureReason.CHECKSUM


class ForeignImageError(SeriesError):
    """The archive sent an image of another series, or something that is not a DICOM file."""

    reason = FailureReason.WRONG_SERIES


class ConflictingImageError(SeriesError):
    """The same SOPInstanceUID arrived twice with different bytes."""

    reason = FailureReason.CONFLICT


class SeriesChangedError(SeriesError):
    """The series in the archive is no longer the one that was downloaded."""

    reason = FailureReason.CHANGED


class TakenOverError(SeriesError):
    """Another run took over the staging folder of the series, or committed the series first."""

    reason = FailureReason.LOCKED

    def __init__(self, uid: str) -> None:
        super().__init__(
            f"series {uid} was taken over by another run",
            hint="it is tried again after the others",
        )


class FileInUseError(SeriesError):
    """Another program has a file open, so Windows does not change it."""

    exit_code = EXIT_DESTINATION
    reason = FailureReason.IN_USE

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is open in another program",
            hint="close it there, then run the same command again; if no program has it open, "
            "check its permissions",
        )


class PathTooLongError(SeriesError):
    """A path in the tree would be longer than programs can open."""

    reason = FailureReason.PATH_TOO_LONG

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the path {path} is longer than programs on this system can open",
            hint="use an --output folder with a shorter path, a shorter --layout such as "
            "'{patient}/{series_tail}', or enable Windows' long paths",
        )


class DestinationError(TciaCovidError):
    """The destination folder cannot be used."""

    exit_code = EXIT_DESTINATION


class NoSpaceError(DestinationError):
    """The file system or quota is full, or would become full."""


class PermissionDeniedError(DestinationError):
    """The destination is not writable: permission, read-only file system, not a folder."""


class LockedError(DestinationError):
    """Another run has locked what this one needs."""

    reason = FailureReason.LOCKED


class ResourceLimitError(DestinationError):
    """A limit of this machine is reached: open files, threads, memory."""


class InterruptedRunError(TciaCovidError):
    """SIGINT, SIGTERM or SIGHUP stopped the run; complete series are kept."""

    exit_code = EXIT_SIGINT

    def __init__(self, *, exit_code: int = EXIT_SIGINT) -> None:
        super().__init__("interrupted", hint="run the same command again to continue")
        self.exit_code = exit_code


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Suggest the name in `known` that is closest to `word`, in any case; empty if none is close.

    `cutoff` is the similarity from 0 to 1 that a name must have.
    """
    by_lower_case = {name.lower(): name for name in known}
    closest = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=cutoff)
    return suggest([by_lower_case[name] for name in closest])


def suggest(names: Collection[str]) -> str:
    """Ask which of `names` was meant: `did you mean 'a', 'b' or 'c'?`; empty without names."""
    if not names:
        return ""
    *others, last = [repr(name) for name in names]
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"
