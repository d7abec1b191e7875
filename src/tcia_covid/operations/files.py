"""The complete series in a folder, and their files in slice order; needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcia_covid.catalog.collections import Registry
from tcia_covid.core.errors import EXIT_OK, EXIT_PARTIAL, RequestError
from tcia_covid.core.models import Receipt, Series
from tcia_covid.selection.filters import Filters, apply_filters, nothing_selected
from tcia_covid.selection.manifests.model import Manifest
from tcia_covid.selection.targets import Target, manifest_target, parse_targets, uuid_in_address
from tcia_covid.store.discovery import find_trees, listing_errors
from tcia_covid.store.report_files import image_rows, join_keys, slice_files
from tcia_covid.store.tree import Tree


@dataclass(frozen=True, slots=True)
class LocalSeries:
    """A series all of whose files are on disk.

    Holds the description of the series, not of its images: a folder of 20,000 series takes 60 MB.
    """

    series: Series
    """As the archive listed it when it was downloaded."""
    path: Path
    """The folder of its files; begins with the folder that was asked for."""
    collection: str
    """The name of the collection's folder."""
    _tree: Tree = field(repr=False, compare=False)

    @property
    def files(self) -> list[Path]:
        """The image files in slice order (see `formats.slice_order`).

        Raises:
            RequestError: the series is no longer complete.
        """
        return [self.path / name for name in slice_files(self.receipt())]

    def receipt(self) -> Receipt:
        """Read what is recorded of the series, with the headers of its images.

        Raises:
            RequestError: there is no record any more.
        """
        stored = self._tree.receipts.read(self.series.uid)
        if stored is None:
            raise RequestError(
                f"series {self.series.uid} is no longer complete in {self._tree.root}",
                hint="list the series again",
            )
        return self._tree.with_headers(stored.receipt)

    def rows(self) -> str:
        """The lines of `images.csv` for the series, with paths that begin as `path` does."""
        above = f"{self._tree.root.as_posix()}/"
        return image_rows(self.receipt(), above=above).decode("utf-8").replace("\r\n", "\n")

    def join_keys(self) -> dict[str, str]:
        """The identifiers of the series in its collection's clinical file, by column."""
        return join_keys(self.collection, self.series)

    def to_dict(self) -> dict[str, Any]:
        """Return the series under the names of `Series.to_dict`, with `path` and `files`."""
        files = [str(file) for file in self.files]
        return {**self.series.to_dict(), "path": str(self.path), "files": files}

    def __repr__(self) -> str:
        return f"LocalSeries({self.series.modality or '?'}, {str(self.path)!r})"


@dataclass(frozen=True, slots=True)
class LocalSelection:
    """The complete series that a request names."""

    directory: str
    series: list[LocalSeries]
    missing: list[str] = field(default_factory=list)
    """Targets and SeriesInstanceUIDs without a complete series in the folder."""

    @property
    def exit_code(self) -> int:
        """0, or 1 if something that was asked for is missing."""
        return EXIT_PARTIAL if self.missing else EXIT_OK


def select_local(
    directory: Path,
    registry: Registry,
    targets: Iterable[str] = (),
    manifests: Iterable[Manifest] = (),
    filters: Filters | None = None,
) -> LocalSelection:
    """Find the complete series in a folder that targets and filters select.

    A series counts if all files of its receipt exist, and `verify` has noted no damage. No image is
    opened. Without targets every series is selected; `manifests` are further targets.

    Raises:
        RequestError: the folder is not one of this program's, or the filters exclude everything.
    """
    with listing_errors(directory):
        complete = [found for tree in find_trees(directory) for found in _complete_series(tree)]
    words, given = list(targets), list(manifests)
    missing: list[str] = []
    selected = complete
    if words or given:
        index = _Index(complete, registry)
        uids: dict[str, None] = {}
        for word in words:
            uids |= index.find_word(word, missing)
        for manifest in given:
            uids |= index.find(manifest_target(manifest, registry), missing)
        selected = [item for item in complete if item.series.uid in uids]
    if filters is not None and filters != Filters():
        selected = _filtered(filters, selected)
    return LocalSelection(str(directory), selected, missing)


def _complete_series(tree: Tree) -> Iterator[LocalSeries]:
    staged, damaged = tree.series_in_staging(), tree.damage.uids()
    for uid in sorted(tree.receipts.uids() - damaged):
        stored = tree.receipts.read(uid)
        if stored is None or not tree.has_all_files(stored.receipt):
            continue
        if uid in staged and tree.is_half_committed(stored):
            continue
        receipt = stored.receipt
        yield LocalSeries(receipt.series, tree.path(receipt), tree.root.name, tree)


def _filtered(filters: Filters, complete: list[LocalSeries]) -> list[LocalSeries]:
    every = {each.series.uid: each for each in complete}
    listed = [each.series for each in complete]
    filtered = apply_filters(filters, listed)
    if listed and not filtered.series:
        raise nothing_selected(filters, filtered, listed)
    return [every[series.uid] for series in filtered.series]


class _Index:
    """Finds local series by what targets name."""

    def __init__(self, complete: Iterable[LocalSeries], registry: Registry) -> None:
        self._registry = registry
        self._by_identifier: dict[str, dict[str, None]] = {}
        self._by_collection: dict[str, dict[str, None]] = {}
        for each in complete:
            series = each.series
            known = registry.listed_as(series.collection) or registry.find(each.collection)
            name = known.name if known else series.collection
            self._by_collection.setdefault(name, {})[series.uid] = None
            for identifier in (series.uid, series.study, series.patient, series.crdc_uuid):
                if identifier:
                    self._by_identifier.setdefault(identifier, {})[series.uid] = None

    def find_word(self, word: str, missing: list[str]) -> Mapping[str, None]:
        """The SeriesInstanceUIDs of a target; what is not found is added to `missing`."""
        collection = self._registry.find(word)
        name = collection.name if collection else word
        matching = self._by_collection.get(name) or self._by_identifier.get(word)
        if matching or collection:
            missing += [] if matching else [word]
            return matching or {}
        (target,) = parse_targets([word], self._registry)
        return self.find(target, missing)

    def find(self, target: Target, missing: list[str]) -> Mapping[str, None]:
        """The same for a target that was parsed."""
        uids: dict[str, None] = {}
        for collection in target.collections:
            uids |= self._by_collection.get(collection.name, {})
        for name in [*target.uids, *(item.value for item in target.unknown)]:
            matching = self._by_identifier.get(uuid_in_address(name) or name, {})
            uids |= matching
            missing += [] if matching else [name]
        return uids
