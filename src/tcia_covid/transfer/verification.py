"""Comparing a series that is complete by count and bytes with the archive's hashes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tcia_covid.archives.base import Archive
from tcia_covid.core.errors import ArchiveError
from tcia_covid.core.models import Check, series_md5
from tcia_covid.store.staging import Staging
from tcia_covid.transfer.availability import ArchiveAvailability

_MAX_WITHOUT_HASH = 3
"""Images without a hash after which the archive is taken to have none of the others either."""


def verify_hashes(
    archives: Sequence[Archive], staging: Staging, availability: ArchiveAvailability
) -> bool:
    """Prove every image that no hash of its own has proved; False if images are to be fetched.

    One request serves the whole series where the archive hashes it. Images of an earlier run
    that no hash verifies are discarded: they may have changed since.
    """
    unproven = staging.unproven()
    if not unproven:
        return True
    if any(series_hash_matches(archive, staging, availability) for archive in archives):
        staging.prove(unproven, Check.SERIES_MD5)
        return True
    note_hashes(archives, staging, unproven, availability)
    if staging.wrong():
        return False
    staging.record_verified()
    staging.prove(staging.etag_matches.intersection(staging.unproven()), Check.MD5)
    doubtful = staging.left_over.intersection(staging.unproven())
    for uid in sorted(doubtful):
        staging.discard(uid)
    return not doubtful


def note_hashes(
    archives: Sequence[Archive],
    staging: Staging,
    uids: Sequence[str],
    availability: ArchiveAvailability,
) -> None:
    """Ask archives for the hashes of single images, and note them in `staging`."""
    for archive in archives:
        without_hash = 0
        try:
            for uid in [uid for uid in uids if uid not in staging.stored_md5]:
                stored = archive.image_md5(staging.series, uid)
                if stored is not None:
                    staging.note_md5(uid, stored)
                    continue
                without_hash += 1
                if without_hash >= _MAX_WITHOUT_HASH:
                    break
        except ArchiveError as error:
            availability.failed(archive, error)


def hash_matches(published: str, stored: Iterable[str | None], computed: Iterable[str]) -> bool:
    """Whether the archive's hash of a series is that of these images.

    Args:
        published: the archive's hash of the series.
        stored: each image's MD5 as the archive spells it, None where it is not known.
        computed: each image's MD5, 32 hex digits, in the same order.
    """
    pairs = list(zip(stored, computed, strict=True))
    # Stored digests may miss their leading zeros, all those of one ingest path alike; what is
    # known of an image may be another archive's spelling.
    spellings = (
        [known or md5 for known, md5 in pairs],
        [known or md5.lstrip("0") for known, md5 in pairs],
        [md5 for _, md5 in pairs],
        [md5.lstrip("0") for _, md5 in pairs],
    )
    return published.strip().lower().zfill(32) in map(series_md5, spellings)


def series_hash_matches(
    archive: Archive, staging: Staging, availability: ArchiveAvailability
) -> bool:
    """Whether the archive has a hash of the series, and the images in `staging` match it."""
    try:
        published = archive.series_md5(staging.series)
    except ArchiveError as error:
        availability.failed(archive, error)
        return False
    images = list(staging.images.values())
    wrong = set(staging.wrong())
    stored = [None if image.uid in wrong else staging.stored_md5.get(image.uid) for image in images]
    return published is not None and hash_matches(published, stored, [i.md5 for i in images])


def counts_match(staging: Staging) -> bool:
    """Whether there are as many images and bytes as are listed for the series."""
    listed = (staging.series.image_count, staging.series.size)
    return bool(staging.images) and listed == (len(staging.images), staging.size)
