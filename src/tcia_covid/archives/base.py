"""The protocol of archives, and of the sink that stores their images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tcia_covid.core.files import Chunk
from tcia_covid.core.models import RemoteImage, Series, StoredImage


class Sink(Protocol):
    """Stores the images of one series, in any order, from any thread.

    `receive` raises `ForeignImageError`, `ConflictingImageError`, `DestinationError`,
    `TakenOverError`, and whatever the chunks raise (nothing of such an image is stored).
    """

    def receive(
        self, chunks: Iterable[Chunk], *, source: str, image: RemoteImage | None = None
    ) -> StoredImage:
        """Store one image under its SOPInstanceUID.

        Args:
            chunks: the file's bytes; each chunk is used before the next one is taken.
            source: the archive's name.
            image: what the archive lists of it, if anything.

        Raises:
            BadResponseError: a DICOM file that is cut before its UIDs.
        """

    def partial_size(self, image: RemoteImage) -> int:
        """The bytes of `image` that are stored already; `receive` expects those that follow."""

    def note_md5(self, uid: str, stored: str) -> None:
        """Record the archive's MD5 of image `uid` as spelled there (without leading zeros)."""

    def discard(self, uid: str) -> None:
        """Remove image `uid`."""

    def has(self, image: RemoteImage) -> bool:
        """Whether `image` is stored already, identified by UID or MD5."""


class Archive(Protocol):
    """An archive of series. Methods raise `ArchiveError`s; none retries unless it says so."""

    @property
    def name(self) -> str:
        """`nbia` or `idc`, as in receipts and JSON; `archive_label` is for sentences."""

    @property
    def skips_known(self) -> bool:
        """Whether `receive_series` leaves out what the sink has."""

    @property
    def connections_per_job(self) -> int:
        """How many simultaneous requests one job may send."""

    @property
    def of_record(self) -> bool:
        """Whether it decides where archives disagree about a series."""

    def has(self, series: Series) -> bool:
        """Whether the archive may have `series`, as far as is known without a request."""

    def list_collection(self, collection: str) -> list[Series]:
        """Every series of a collection, with retries."""

    def list_series(self, uids: Iterable[str]) -> list[Series]:
        """The series with these SeriesInstanceUIDs, with retries; unknown ones are absent."""

    def images(self, series: Series) -> list[RemoteImage]:
        """The images that the archive has of `series`, with retries."""

    def receive_series(self, series: Series, sink: Sink) -> None:
        """Store a series: one attempt; what arrived before an error stays in the sink."""

    def receive_image(self, series: Series, image: RemoteImage, sink: Sink) -> StoredImage:
        """Store one image: one attempt.

        Raises:
            NotAvailableError: the archive does not have it.
        """

    def image_md5(self, series: Series, uid: str) -> str | None:
        """The archive's MD5 of one image as spelled there; None where it has none."""

    def series_md5(self, series: Series) -> str | None:
        """The archive's MD5 of the series' sorted image MD5s; None where it has none."""
