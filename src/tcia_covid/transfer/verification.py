"""Proving a series that is complete by count and bytes against the archive's hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from tcia_covid.archives.base import Archive
from tcia_covid.core.errors import ArchiveError, IncompleteSeriesError, SeriesChangedError
from tcia_covid.core.models import Check, Series
from tcia_covid.store.staging import Staging
from tcia_covid.transfer.availability import ArchiveAvailability

_BLANKS_TELL = 3
"""Images without a hash after which the others are taken to have none either."""


def verify_hashes(
    series: Series, archives: Sequence[Archive], staging: Staging, health: ArchiveAvailability
) -> bool:
    """Prove every image that no hash of its own has proved; False if one turned out wrong.

    One request serves the whole series where the archive hashes it. Images of an earlier run
    that no hash can prove are thrown away: nobody knows what happened to them since.
    """
    unproven = staging.unproven()
    if not unproven:
        return True
    if any(series_hash_matches(series, archive, staging, health) for archive in archives):
        staging.prove(unproven, Check.SERIES_MD5)
        return True
    note_hashes(series, archives, staging, unproven, health)
    if staging.wrong():
        return False
    staging.record_verified()
    doubtful = [uid for uid in staging.unproven() if uid in staging.left_over]
    for uid in doubtful:
        staging.discard(uid)
    return not doubtful


def note_hashes(
    series: Series,
    archives: Sequence[Archive],
    staging: Staging,
    uids: Iterable[str],
    health: ArchiveAvailability,
) -> None:
    """Ask for the hashes of single images, where the archives have such."""
    left = list(uids)
    for archive in archives:
        try:
            _ask_for_hashes(series, archive, staging, left)
        except ArchiveError as error:
            health.failed(archive, error)
        left = [uid for uid in left if uid not in staging.stored_md5]


def _ask_for_hashes(
    series: Series, archive: Archive, staging: Staging, uids: Iterable[str]
) -> None:
    blanks = 0
    for uid in uids:
        stored = archive.image_md5(series, uid)
        if stored is not None:
            staging.note_md5(uid, stored)
            continue
        blanks += 1
        if blanks >= _BLANKS_TELL:
            return


def series_md5(stored: Iterable[str]) -> str:
    """MD5 over sorted image MD5s: how NBIA hashes a series."""
    joined = "".join(sorted(stored))
    return hashlib.md5(joined.encode(), usedforsecurity=False).hexdigest()


def hash_matches(said: str, spelled: Iterable[str | None], computed: Iterable[str]) -> bool:
    """Whether the archive's hash of a series is that of these images.

    Args:
        said: the archive's hash of the series.
        spelled: each image's MD5 as the archive spells it, None where it did not say.
        computed: each image's MD5, 32 hex digits, in the same order.
    """
    pairs = list(zip(spelled, computed, strict=True))
    # Stored digests may lack their leading zeros, all those of one ingest path alike; what is
    # known of an image may be another archive's spelling.
    spellings = (
        [known or md5 for known, md5 in pairs],
        [known or md5.lstrip("0") for known, md5 in pairs],
        [md5 for _, md5 in pairs],
        [md5.lstrip("0") for _, md5 in pairs],
    )
    return said.strip().lower().zfill(32) in map(series_md5, spellings)


def series_hash_matches(
    series: Series, archive: Archive, staging: Staging, health: ArchiveAvailability
) -> bool:
    """Whether the archive's hash of the series, where it can be had, is that of what is here."""
    try:
        said = archive.series_md5(series)
    except ArchiveError as error:
        health.failed(archive, error)
        return False
    if said is None:
        return False
    images = list(staging.images.values())
    spelled = [staging.stored_md5.get(image.uid) for image in images]
    return hash_matches(said, spelled, [image.md5 for image in images])


def counts_match(series: Series, staging: Staging) -> bool:
    """Whether count and bytes are those on record."""
    if not staging.images or series.image_count is None or series.size is None:
        return False
    return len(staging.images) == series.image_count and staging.size == series.size


def check_count(series: Series, staging: Staging) -> None:
    """See that there are as many images as are on record, once all that are named are here.

    Raises:
        IncompleteSeriesError: there are fewer.
        SeriesChangedError: there are more.
    """
    count, here = series.image_count, len(staging.images)
    if count is not None and here < count:
        raise IncompleteSeriesError(
            f"series {series.uid} is incomplete: the archive has {count} images on record "
            f"and names only {here}",
            hint="run the same command again later; report it to TCIA if it stays",
        )
    if count is not None and here > count:
        raise SeriesChangedError(
            f"series {series.uid} changed while it was fetched: {count} images were listed, "
            f"{here} are there",
            hint="run the same command again to list it anew",
        )
