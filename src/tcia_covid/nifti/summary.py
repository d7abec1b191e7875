"""The summary of a run, in the words of the other collections: a patient counts as a series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tcia_covid.errors import (
    EXIT_ARCHIVE,
    EXIT_DESTINATION,
    EXIT_OK,
    EXIT_PARTIAL,
    DestinationError,
    InterruptedRunError,
    RequestError,
    TciaCovidError,
)
from tcia_covid.model import Check, Failure
from tcia_covid.nifti.result import Standing
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.request import Request
from tcia_covid.summary import Summary


def summarise(
    request: Request,
    tree: VolumeTree,
    before: Standing,
    *,
    failures: Sequence[Failure],
    received: int,
    ended: TciaCovidError | None,
) -> Summary:
    """Count what stands, and settle the exit code.

    Args:
        request: what was asked for.
        tree: where it stands.
        before: what stood when the run began.
        failures: why volumes or packages are not there.
        received: bytes that arrived.
        ended: what ended the run early.
    """
    now = Standing.of(tree)
    summary = Summary(targets=list(request.targets), output=request.output)
    failed = {one.series for one in failures if one.series}
    summary.complete = len(tree.sound().keys() - failed)
    summary.already_complete = min(before.patients, summary.complete)
    summary.failed = len(failed)
    summary.failures = list(failures)
    _expect(summary, now, accepted=request.options.accept_listed)
    summary.images_stored, summary.bytes_stored = now.volumes, now.size
    summary.bytes_received = received
    summary.fetched_from = {"aspera": summary.complete - summary.already_complete}
    _checks(summary, tree)
    summary.error = ended
    if ended is None and not failures and not now.is_whole:
        summary.failures += _shortage(now, accepted=request.options.accept_listed)
    summary.exit_code = _exit_code(summary, ended)
    return summary


def _expect(summary: Summary, now: Standing, *, accepted: bool) -> None:
    """How much there is to be: what the registry says, unless what is listed is to be enough."""
    known = None if accepted else now.patients_expected
    summary.selected = max(known or 0, summary.complete + summary.failed)
    summary.images_expected = (None if accepted else now.volumes_expected) or now.volumes
    summary.remaining = summary.selected - summary.complete - summary.failed


def _checks(summary: Summary, tree: VolumeTree) -> None:
    sources: Counter[str] = Counter()
    for receipt in tree.sound().values():
        sources.update({image.source for image in receipt.images})
        summary.checked_size += receipt.check is Check.SIZE
        summary.checked_md5 += receipt.check is not Check.SIZE
    summary.sources = {"nbia": 0, "idc": 0} | dict(sorted(sources.items()))


def _shortage(now: Standing, *, accepted: bool) -> list[Failure]:
    """The failure of a collection that is smaller, or larger, than the registry knows it."""
    if accepted or now.volumes_expected is None:
        return []
    if now.exceeds:
        hint = "--accept-listed if TCIA added volumes; else remove those that are not of it"
        return [Failure("", "unexpected", now.compared(), hint=hint)]
    detail = f"{now.compared()}: the packages have no more"
    hint = "look at the collection's page; --accept-listed if volumes were withdrawn"
    return [Failure("", "incomplete", detail, hint=hint)]


def _exit_code(summary: Summary, ended: TciaCovidError | None) -> int:
    if isinstance(ended, InterruptedRunError | DestinationError | RequestError):
        return ended.exit_code
    if ended is not None and not summary.complete:
        return ended.exit_code
    reasons = {one.reason for one in summary.failures}
    if ended is None and not reasons and not summary.remaining:
        return EXIT_OK
    if reasons == {"held"}:
        return EXIT_DESTINATION
    if not summary.complete and reasons == {"archive"}:
        return EXIT_ARCHIVE
    return EXIT_PARTIAL
