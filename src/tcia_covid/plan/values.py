"""What a download would do, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from tcia_covid.errors import EXIT_OK, EXIT_PARTIAL
from tcia_covid.model import Failure
from tcia_covid.space import spare


@dataclass(slots=True)
class Amount:
    """So many series with so many images and bytes."""

    series: int = 0
    images: int = 0
    size: int = 0

    def add(self, series: int, images: int, size: int) -> None:
        """Add to it."""
        self.series += series
        self.images += images
        self.size += size

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.series + other.series, self.images + other.images, self.size + other.size
        )


@dataclass(slots=True)
class GroupPlan:
    """What a download would do for one collection."""

    name: str
    patients: int
    studies: int
    selected: Amount
    there: Amount = field(default_factory=Amount)
    """What is complete already."""
    partial: Amount = field(default_factory=Amount)
    """What is there of series that are not complete: begun, or damaged since."""
    changed: list[str] = field(default_factory=list)
    """Series that are complete, but not what the archive lists now."""
    modalities: dict[str, Amount] = field(default_factory=dict)
    """Selected, by modality; the most bytes first."""

    @property
    def to_fetch(self) -> Amount:
        """What is still to come: series not complete, their images and bytes not there."""
        return Amount(
            self.selected.series - self.there.series,
            max(0, self.selected.images - self.there.images - self.partial.images),
            max(0, self.selected.size - self.there.size - self.partial.size),
        )


@dataclass(slots=True)
class Plan:
    """What a download would do."""

    targets: tuple[str, ...]
    output: str
    groups: list[GroupPlan]
    free: int | None
    """Bytes free where the download would go; None where the system does not say."""
    rate: int
    """Bytes a second that the time is reckoned with."""
    rate_is_assumed: bool
    failures: list[Failure] = field(default_factory=list)
    """Of lists: series that should be there and are not."""
    notices: list[str] = field(default_factory=list)

    @property
    def selected(self) -> Amount:
        """Everything that the request names."""
        return sum((one.selected for one in self.groups), Amount())

    @property
    def there(self) -> Amount:
        """What is complete already."""
        return sum((one.there for one in self.groups), Amount())

    @property
    def partial(self) -> Amount:
        """What is there of series that are not complete."""
        return sum((one.partial for one in self.groups), Amount())

    @property
    def to_fetch(self) -> Amount:
        """What is still to come."""
        return sum((one.to_fetch for one in self.groups), Amount())

    @property
    def needed(self) -> int:
        """Bytes of disk that the rest takes, without what receipts and reports need."""
        return self.to_fetch.size

    @property
    def fits(self) -> bool | None:
        """Whether the rest fits on the disk; None where that is not known."""
        if self.free is None:
            return None
        return not self.needed or self.free >= self.needed + spare(self.needed)

    @property
    def seconds(self) -> int:
        """About how long the rest takes at `rate`."""
        return round(self.needed / self.rate)

    @property
    def exit_code(self) -> int:
        """0, or 1 where lists lack something."""
        return EXIT_PARTIAL if self.failures else EXIT_OK
