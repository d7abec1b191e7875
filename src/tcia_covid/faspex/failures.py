"""What `ascli` says when it fails, as errors of this program.

It ends with 1 whatever went wrong; the reason stands in what it printed.
"""

from __future__ import annotations

import re
import signal

from tcia_covid.errors import (
    ArchiveError,
    ConnectionLostError,
    NoSpaceError,
    NotAvailableError,
    PermissionRefusedError,
    RequestError,
    TciaCovidError,
    TlsError,
    UnreachableError,
)
from tcia_covid.redact import scrub


def _any_of(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


_NO_ASCP = _any_of("no Aspera transfer module", "no FASP installation", "ascp.*not found")
_FULL = _any_of("no space left", "disk (?:is )?full", "insufficient (?:disk|storage)", "quota")
_REFUSED = _any_of("permission denied @", "EACCES", "read-only file system", "EROFS")
_TLS = _any_of("ERROR: SSL", "certificate verify failed", "not match the server certificate")
_UNREACHABLE = _any_of(
    *("ERROR: Network", "getaddrinfo", "name or service not known", "connection refused"),
    *("ECONNREFUSED", "EHOSTUNREACH", "no route to host", "unable to connect"),
    *("failed to open TCP", "session initiation failed", "time-?out", "timed out", "UDP"),
)
_GONE = _any_of(
    *("(?<![.#:0-9])(?:40[0134]|410)(?![.:0-9])", "not authori[sz]ed", "not found", "expired"),
    *("invalid (?:pass|link|context)", "no such package", "passcode"),
)
_REFUSES = re.compile(r"\bERROR: (?:Argument|Missing|Identifier|Tool|UnusedArg)\b")
"""What `ascli` calls errors in what it is asked; asking again changes nothing."""
_ERROR = re.compile(r"\bERROR\b")
_WARNING = re.compile(r"\bWARN")
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LONGEST = 300


def failure_of(code: int, lines: list[str], folder: str) -> TciaCovidError:
    """Tell why `ascli` failed.

    Args:
        code: how it ended: its exit code, or the number of a signal, negative.
        lines: the last lines that it printed.
        folder: where it was to write to.
    """
    told = "\n".join(filter(is_warning, lines)) or "\n".join(lines)
    said = _most_telling(lines) or _ending(code)
    if _NO_ASCP.search(told):
        return RequestError(
            "ascli has no ascp, the program that transfers the data",
            hint="run 'ascli config ascp install' ('ascli config transferd install' from 4.21 on), "
            "then the same command again",
        )
    if _FULL.search(told):
        return NoSpaceError(
            f"no space left while ascli wrote to {folder}: {said}",
            hint="free some space (or raise the quota), then run the same command again",
        )
    if _TLS.search(told):
        return TlsError(
            f"ascli does not trust the server: {said}",
            hint="check the machine's clock and certificates; a proxy may stand in the way",
        )
    return _of_network(said, told, folder)


def _of_network(said: str, told: str, folder: str) -> TciaCovidError:
    if _UNREACHABLE.search(told):
        return UnreachableError(
            f"ascli does not reach the server: {said}",
            hint="Aspera needs outgoing TCP and UDP on port 33001: a firewall may stand in the way",
            retryable=True,
        )
    if _GONE.search(told):
        return NotAvailableError(
            f"the package is not given: {said}",
            hint="its link may have changed: run the same command again, or look at the "
            "collection's page",
        )
    if _REFUSED.search(told):
        return PermissionRefusedError(
            f"ascli cannot write to {folder}: {said}", hint="check the folder's permissions"
        )
    if _REFUSES.search(told):
        return RequestError(
            f"ascli does not take what it is asked: {said}",
            hint="see whether it is recent ('ascli --version'): it takes public links, which have "
            "a context in them; or download with a browser from the collection's page",
        )
    return ConnectionLostError(
        f"ascli did not receive the package: {said}",
        hint="the same command goes on from what is kept",
        retryable=True,
    )


def plain(line: str) -> str:
    """A line of `ascli`'s without colours, credentials and what would steer a terminal."""
    text = _COLOURS.sub("", line[: 4 * _LONGEST])
    text = "".join(one if one.isprintable() else " " for one in text)
    return scrub(" ".join(text.split()))[:_LONGEST]


def is_warning(line: str) -> bool:
    """Whether a line tells of trouble."""
    return bool(_ERROR.search(line) or _WARNING.search(line))


def _most_telling(lines: list[str]) -> str:
    """The last line that tells of an error; else the last one."""
    errors = [line for line in lines if _ERROR.search(line)]
    return next(reversed(errors), "") or next(reversed(lines), "")


def _ending(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"


def cannot_start(program: str, error: OSError) -> TciaCovidError:
    """Give the error for an `ascli` that the system does not start."""
    return RequestError(
        f"{program} cannot be started: {error.strerror or error}",
        hint="check the installation with 'ascli --version'",
    )


def silent(seconds: float) -> ArchiveError:
    """Give the error for an `ascli` that neither said nor wrote anything for too long."""
    return ConnectionLostError(
        f"ascli neither wrote nor said anything for {seconds:g} s",
        hint="Aspera needs outgoing TCP and UDP on port 33001: a firewall may stand in the way",
        retryable=True,
    )
