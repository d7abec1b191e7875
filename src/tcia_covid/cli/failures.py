"""Failures in words and as JSON: failed series, and a command that failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tcia_covid.cli.console import Console
from tcia_covid.core.errors import TciaCovidError
from tcia_covid.core.models import Failure
from tcia_covid.core.summary import Summary
from tcia_covid.core.units import count
from tcia_covid.operations.status import StatusResult
from tcia_covid.operations.status import document as committed
from tcia_covid.operations.verify.result import VerifyResult, document
from tcia_covid.output.json_documents import Document, error_document, summary_document
from tcia_covid.output.progress.wording import clean_line, failure_line

if TYPE_CHECKING:
    from tcia_covid.store.discovery import UncheckedFolder

MOST_FAILURES = 20


def failed_document(console: Console, error: TciaCovidError) -> Document:
    """The keys that the verb promises, with nothing in them, and the error."""
    return {**_empty_document(console), **error_document(console.verb, error)}


def _empty_document(console: Console) -> Document:
    if console.verb == "download":
        return summary_document(Summary(list(console.targets), console.folder))
    if console.verb == "verify":
        return document(VerifyResult(console.folder))
    if console.verb == "status":
        return committed(StatusResult(console.folder, []))
    return {}


def failure_lines(failures: Sequence[Failure]) -> Iterator[str]:
    """The first failures, each with what to do; a hint that holds for several is said once.

    Series that failed alike share a line; their UIDs follow it.
    """
    told = ""
    left = len(failures)
    for alike in _same_reason(failures)[:MOST_FAILURES]:
        one, left = alike[0], left - len(alike)
        yield f"  {one.reason}: {_failure_lines(alike)}"
        if one.hint and one.hint != told:
            told = one.hint
            yield f"    {clean_line(one.hint)}"
        if len(alike) > 1:
            yield from series_lines([failed.series for failed in alike if failed.series])
    if left:
        yield f"  and {left:,} more: --json lists all"


def series_lines(uids: Sequence[str]) -> Iterator[str]:
    """The first of some series, a line each."""
    yield from (f"    {clean_line(uid)}" for uid in uids[:MOST_FAILURES])
    if len(uids) > MOST_FAILURES:
        yield f"    and {len(uids) - MOST_FAILURES:,} more: --json lists all"


def _same_reason(failures: Sequence[Failure]) -> list[list[Failure]]:
    """Failures of the same words together, in the order of the first of each."""
    groups: dict[tuple[str, ...], list[Failure]] = {}
    for one in failures:
        groups.setdefault((one.reason, one.detail, one.hint, *one.missing), []).append(one)
    return list(groups.values())


def _failure_lines(alike: Sequence[Failure]) -> str:
    one = alike[0]
    if len(alike) == 1:
        return f"{failure_line(one)}{_missing(one)}"
    return clean_line(f"{count(len(alike), 'series')}: {one.detail}{_missing(one)}")


def _missing(one: Failure) -> str:
    unnamed = [uid for uid in one.missing if uid not in one.detail]
    if not unnamed:
        return ""
    more = f" and {len(unnamed) - 1:,} more" if len(unnamed) > 1 else ""
    return f" (missing: {unnamed[0]}{more})"


def unchecked_line(one: UncheckedFolder) -> str:
    """A folder with images that no receipt covers."""
    return clean_line(
        f"not checked: {one.folder} ({count(one.images, 'image')}, no receipts); "
        f"'download {one.folder}' adopts what is right"
    )
