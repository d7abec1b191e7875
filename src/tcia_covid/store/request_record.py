"""The record of the last download's request, for `status`: which series, and what was listed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tcia_covid.core.models import Series, Totals
from tcia_covid.core.safe_names import is_uid
from tcia_covid.store.disk import UNUSABLE_JSON, read_json

REQUEST_FILE = "request.json"
_MAX_ITEMS = 250_000
"""Series that are recorded one by one; TCIA's largest collection has 203,000."""


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """What the last download selected of one collection."""

    series: int
    listed: Totals | None = None
    """The whole collection, where the request named it."""
    items: Mapping[str, Totals] = field(default_factory=dict)
    """Each selected series, by UID; empty where only the number was recorded."""
    shards: int = 1
    """The number of runs that share them, each with its `--shard`."""

    @property
    def totals(self) -> Totals:
        """All selected series together."""
        images = sum(item.images for item in self.items.values())
        return Totals(self.series, images, sum(item.size for item in self.items.values()))


def recorded_request(series: Sequence[Series], listed: Sequence[Series], shards: int = 1) -> bytes:
    """The content of the file; the arguments are those of `Tree.record_request`."""
    document = {
        "series": len(series),
        "listed": asdict(Totals.of(listed)) if listed else None,
        "items": [(item.uid, item.image_count or 0, item.size or 0) for item in series]
        if len(series) <= _MAX_ITEMS
        else [],
        "shards": shards,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def read_request(state: Path) -> RecordedRequest | None:
    """Read the file in a state folder; None if there is none that can be used."""
    try:
        document = read_json(state / REQUEST_FILE)
        listed = document.get("listed")
        return RecordedRequest(
            int(document["series"]),
            None if listed is None else Totals(**{name: int(listed[name]) for name in _NAMES}),
            dict(_items(document.get("items") or ())),
            max(1, int(document.get("shards", 1))),
        )
    except UNUSABLE_JSON:
        return None


_NAMES = ("series", "images", "size")


def _items(entries: Iterable[tuple[object, object, object]]) -> Iterable[tuple[str, Totals]]:
    for uid, images, size in entries:
        if isinstance(uid, str) and is_uid(uid):
            yield uid, Totals(1, max(0, int(str(images))), max(0, int(str(size))))
