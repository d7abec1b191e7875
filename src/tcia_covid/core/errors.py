"""Every error that a user can meet: its type, its exit code, its sentence and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

EXIT_OK = 0
EXIT_PARTIAL = 1
EXIT_REQUEST = 2
EXIT_ARCHIVE = 3
EXIT_DESTINATION = 4
EXIT_SIGHUP = 129
EXIT_SIGINT = 130
EXIT_SIGTERM = 143


class TciaCovidError(Exception):
    """Root of all errors that this package raises on purpose.

    Attributes:
        exit_code: what the command line ends with when this error ends the run.
        hint: what the user can do next; one sentence, or empty.
    """

    exit_code = EXIT_PARTIAL

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def message(self) -> str:
        """What happened, to what: one sentence without the hint."""
        return str(self.args[0])


class RequestError(TciaCovidError):
    """The request cannot be carried out as asked."""

    exit_code = EXIT_REQUEST


class UsageError(RequestError):
    """An option or a combination of options makes no sense."""


class UnknownCollectionError(RequestError):
    """A target names no collection, manifest or series that is known."""


class NotDicomError(RequestError):
    """The collection exists, but not as DICOM series in the archives this program speaks to.

    Attributes:
        commands: what a person can type instead, in turn; empty where nothing is known to do.
    """

    def __init__(self, message: str, *, hint: str = "", commands: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.commands = tuple(commands)


class ManifestError(RequestError):
    """A manifest file cannot be read; the message carries its line number."""


class RegistryError(RequestError):
    """A registry file breaks its schema; the message carries its line number."""


class ConfigError(RequestError):
    """A configuration file or environment variable cannot be used."""


class LicenseRefusedError(RequestError):
    """The license of a collection forbids the use that was declared."""


class ArchiveError(TciaCovidError):
    """An archive could not be reached or gave no usable answer.

    Attributes:
        retryable: whether asking again may help.
        retry_after: seconds the archive asked to wait, or None.
        push_back: whether it says that the archive is overloaded.
        spent: whether a whole budget of attempts was spent on it already.
    """

    exit_code = EXIT_ARCHIVE
    spent = False

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


class TlsError(ArchiveError):
    """The archive's certificate could not be trusted."""


class RedirectError(ArchiveError):
    """The archive redirected to a place this program does not follow to."""


class ConnectionLostError(ArchiveError):
    """The connection broke, stalled or was too slow while an answer was arriving."""


class ResponseTimeoutError(ConnectionLostError):
    """No answer began within the first-byte time-out."""


class StatusError(ArchiveError):
    """The archive answered with an HTTP status that is an error.

    Attributes:
        status: the HTTP status code.
        body: the first characters of the answer's text.
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


class NotAvailableError(ArchiveError):
    """The archive does not have, or does not give, what was asked for (one series, one image)."""


class BadResponseError(ArchiveError):
    """HTTP said 200, the content is not what was asked for (HTML page, cut JSON, empty list)."""


class ZipError(ArchiveError):
    """A ZIP stream is broken, hostile, or not a ZIP at all."""


class TruncatedZipError(ZipError):
    """A ZIP stream ended before its end record: a cut, whatever HTTP says."""


class SeriesError(TciaCovidError):
    """One series could not be completed; other series go on.

    Attributes:
        reason: a short word for machines, stable over time.
        missing: SOPInstanceUIDs that could not be had.
    """

    reason = "failed"

    def __init__(self, message: str, *, hint: str = "", missing: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.missing = missing


class IncompleteSeriesError(SeriesError):
    """Images of the series are missing and the archive does not give them."""

    reason = "incomplete"


class ChecksumError(SeriesError):
    """An image's bytes differ from the archive's own MD5, again and again."""

    reason = "checksum"


class ForeignImageError(SeriesError):
    """The archive sent an image of another series, or something that is no DICOM file."""

    reason = "foreign"


class ConflictingImageError(SeriesError):
    """The same SOPInstanceUID arrived twice with different bytes."""

    reason = "conflict"


class SeriesChangedError(SeriesError):
    """The archive's series is no longer the one that was fetched."""

    reason = "changed"


class TakenOverError(SeriesError):
    """Another run took the series' staging folder over, or published the series first."""

    reason = "locked"

    def __init__(self, uid: str) -> None:
        super().__init__(
            f"series {uid} was taken over by another run",
            hint="it is looked at again after the others",
        )


class DestinationError(TciaCovidError):
    """The destination folder cannot be used."""

    exit_code = EXIT_DESTINATION


class NoSpaceError(DestinationError):
    """The file system or quota is full, or would be."""


class PermissionDeniedError(DestinationError):
    """The destination cannot be written: permission, read-only file system, not a folder."""


class LockedError(DestinationError):
    """Another run holds what this one needs."""


class InterruptedRunError(TciaCovidError):
    """The run was told to stop (SIGINT, SIGTERM or SIGHUP); what is complete is kept."""

    exit_code = EXIT_SIGINT

    def __init__(self, message: str = "interrupted", *, exit_code: int = EXIT_SIGINT) -> None:
        super().__init__(message, hint="run the same command again to go on")
        self.exit_code = exit_code


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Suggest the name in `known` that is closest to `word`; empty where none is close.

    Args:
        word: what the user wrote; case does not matter.
        known: the names that exist.
        cutoff: similarity from 0 to 1 that a name must have.
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
