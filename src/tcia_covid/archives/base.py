"""The small protocol that every archive speaks, and the sink that its images are poured into."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tcia_covid.core.models import RemoteImage, Series, StoredImage


class Sink(Protocol):
    """Takes the images of one series, in any order, from any thread.

    Raises from `receive`: `ForeignImageError`, `ConflictingImageError`, `DestinationError`,
    `TakenOverError`, and whatever the chunks raise (nothing is kept of such an image).
    """

    def receive(
        self, chunks: Iterable[bytes], *, source: str, image: RemoteImage | None = None
    ) -> StoredImage:
        """Write one image from its `chunks`, keep it under its SOPInstanceUID, say what it is.

        Args:
            chunks: the file's bytes.
            source: the archive's name.
            image: what the archive says of it beforehand, where it does.

        Raises:
            BadAnswerError: a DICOM file that is cut before its UIDs.
        """
        ...

    def note_md5(self, uid: str, stored: str) -> None:
        """Note the archive's hash of image `uid` as the archive spells it (zeros may lack)."""
        ...

    def has(self, image: RemoteImage) -> bool:
        """Whether `image` is here already, judged by UID or MD5."""
        ...


class Archive(Protocol):
    """A place that has series. Methods raise `ArchiveError`s; none retries but where it says so."""

    @property
    def name(self) -> str:
        """`nbia` or `idc`: what receipts and summaries call it."""
        ...

    @property
    def skips_known(self) -> bool:
        """Whether `receive_series` leaves out what the sink has already."""
        ...

    @property
    def of_record(self) -> bool:
        """Whether what it says of a series counts where archives disagree."""
        ...

    def holds(self, series: Series) -> bool:
        """Whether the archive may have `series`, as far as is known without asking."""
        ...

    def list_collection(self, collection: str) -> list[Series]:
        """Every series of a collection; asks again where the answer is unusable."""
        ...

    def list_series(self, uids: Iterable[str]) -> list[Series]:
        """The series with these SeriesInstanceUIDs; unknown ones are absent from the result."""
        ...

    def images(self, series: Series) -> list[RemoteImage]:
        """What images the archive has of `series`; asks again where the answer is unusable."""
        ...

    def receive_series(self, series: Series, sink: Sink) -> None:
        """Pour the series into `sink`: one attempt; what arrived before an error stays there."""
        ...

    def receive_image(self, series: Series, image: RemoteImage, sink: Sink) -> StoredImage:
        """Pour one image into `sink`: one attempt.

        Raises:
            NotAvailableError: the archive does not have it.
        """
        ...

    def image_md5(self, series: Series, uid: str) -> str | None:
        """The archive's hash of one image as it spells it; None where it has none."""
        ...

    def series_md5(self, series: Series) -> str | None:
        """The archive's hash over the series (MD5 of the sorted image MD5s); None where none."""
        ...
