"""Comparing series that are intact on disk with the archive's own hashes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tcia_covid.archives.base import Archive
from tcia_covid.errors import ArchiveError
from tcia_covid.events import Emit, Notice
from tcia_covid.md5list import same_md5
from tcia_covid.model import Check, Receipt
from tcia_covid.stop import Stop
from tcia_covid.transfer.proof import hash_fits
from tcia_covid.verify.ahead import ahead
from tcia_covid.verify.result import Online, Verdict

_GIVE_UP = 4
"""Series in a row, a thread, that an archive does not answer for before it is left alone."""


class OnlineCheck:
    """Asks one archive for the hashes of many series.

    Args:
        archive: whom to ask.
        jobs: requests at once.
        emit: hears when the archive is given up.
        stop: the flag that ends the run.
    """

    def __init__(self, archive: Archive, jobs: int, emit: Emit, stop: Stop) -> None:
        self._counts: Counter[Verdict] = Counter()
        self._archive = archive
        self._jobs = jobs
        self._emit = emit
        self._stop = stop
        self._silent = 0

    @property
    def online(self) -> Online:
        """What the archive said so far."""
        return Online(
            proved=self._counts[Verdict.PROVED],
            differing=self._counts[Verdict.DIFFERING],
            without_hash=self._counts[Verdict.WITHOUT_HASH],
            unanswered=self._counts[Verdict.UNANSWERED],
        )

    def judge(self, receipts: Iterable[Receipt]) -> Iterator[tuple[Receipt, Verdict]]:
        """Compare series with the archive, and count what it says."""
        for receipt, verdict in ahead(self._ask, receipts, self._jobs, self._stop):
            self._count(verdict)
            yield receipt, verdict

    def _count(self, verdict: Verdict) -> None:
        self._counts[verdict] += 1
        self._silent = self._silent + 1 if verdict is Verdict.UNANSWERED else 0
        if self._silent == _GIVE_UP * self._jobs:
            self._emit(
                Notice(f"{self._archive.name} does not answer: the other series are not compared")
            )

    def _ask(self, receipt: Receipt) -> Verdict:
        if not receipt.is_dicom:
            return Verdict.WITHOUT_HASH  # and no request: the archive has series alone
        if self._silent >= _GIVE_UP * self._jobs:
            return Verdict.UNANSWERED
        try:
            said = self._archive.series_md5(receipt.series)
            return _judge(receipt, said, self._archive) if said else Verdict.WITHOUT_HASH
        except ArchiveError:
            return Verdict.UNANSWERED


def _judge(receipt: Receipt, said: str, archive: Archive) -> Verdict:
    """Compare with the hash of the series; with hashes of images where that leaves a doubt."""
    computed = [image.md5 for image in receipt.images]
    if hash_fits(said, [None] * len(computed), computed):
        return Verdict.PROVED
    spelled: list[str | None] = []
    for image in receipt.images:
        unproven = image.check is Check.SIZE
        if not unproven and not image.md5.startswith("0"):
            spelled.append(None)
            continue
        stored = archive.image_md5(receipt.series, image.uid)
        if stored is None and unproven:
            return Verdict.WITHOUT_HASH
        if stored is None or not same_md5(stored, image.md5):
            return Verdict.DIFFERING
        spelled.append(stored)  # its leading zeros may lack, and those of others not
    return Verdict.PROVED if hash_fits(said, spelled, computed) else Verdict.DIFFERING
