"""The keywords of the library's functions: documented, checked, and turned into a request."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypedDict,
    get_args,
    get_origin,
    get_type_hints,
)

from tcia_covid.catalog.collections import Registry
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import ManifestError, UsageError, did_you_mean
from tcia_covid.core.models import Series
from tcia_covid.core.safe_names import DEFAULT_OUTPUT, STATE_FOLDER
from tcia_covid.core.units import parse_rate, parse_size
from tcia_covid.http.settings import HttpSettings
from tcia_covid.selection.filters import Filters
from tcia_covid.selection.manifests.model import Kind, Manifest
from tcia_covid.selection.manifests.objects import is_table, read_objects
from tcia_covid.selection.request import Options, Request, Source
from tcia_covid.selection.shards import Shard, parse_shard
from tcia_covid.selection.targets import split_targets
from tcia_covid.store.layout import Layout

if TYPE_CHECKING:
    from typing_extensions import Unpack

Words = str | Sequence[str]
"""One value or several."""
Bytes = int | str
"""A number of bytes, or text such as `20GB`."""
Paths = str | Path | Sequence[str | Path]
"""One path or name, or several."""
Targets = str | Path | Series | Mapping[str, Any] | Iterable[Any]
"""A name, path, series, dict of a series or table (DataFrame) of series, or several of them."""


class ConnectionChoices(TypedDict, total=False):
    """Keywords of every function that can ask an archive; None means the default.

    Durations are in seconds, rates in bytes per second.
    """

    jobs: int | None
    """Series to download at once (default 8); for `verify`, threads that read."""
    processes: int | None
    """Processes of a download, which divide `jobs` (default: by processors and images)."""
    retries: int | None
    """Consecutive failures before giving up; any progress resets the counter."""
    retry_wait: float | None
    """Longest first pause before a retry; it doubles with each further one."""
    connect_timeout: float | None
    """For making a connection."""
    first_byte_timeout: float | None
    """From the request to the first byte of the response."""
    stall_timeout: float | None
    """Silence in the middle of a response."""
    outage_timeout: float | None
    """How long to keep retrying when no archive responds."""
    max_rate: Bytes | None
    """Limit of all connections together."""
    min_rate: Bytes | None
    """A slower response is aborted and requested again."""
    registry: Paths | None
    """Registry files, added to the shipped one."""
    nbia_url: str | None
    """Base URL of NBIA's API."""
    idc_url: str | None
    """`aws`, `gcs`, or the URL of an S3 endpoint with IDC's buckets; several with commas."""
    site_url: str | None
    """Base URL of TCIA's web site."""


class FilterChoices(ConnectionChoices, total=False):
    """Keywords that select series; None means the default.

    Filters take one value or several: the values of one filter are alternatives, and different
    filters combine.
    """

    patient: Words | None
    """PatientID. Here and in the next four, commas separate values; `@FILE` reads them from a list
    or from a column of a table."""
    study: Words | None
    """StudyInstanceUID."""
    series: Words | None
    """SeriesInstanceUID."""
    modality: Words | None
    """Modality, in any case."""
    body_part: Words | None
    """BodyPartExamined, in any case."""
    description: Words | None
    """Regular expression, found anywhere in SeriesDescription, in any case."""
    where: Words | None
    """Conditions on columns that must all hold: `"PatientSex=F"`, `"PatientAge>=60"`."""
    first_patients: int | None
    """Maximum number of patients per collection."""
    max_series: int | None
    """Maximum number of series."""
    max_size: Bytes | None
    """Maximum size of all series together."""
    shard: str | Shard | None
    """`"I/N"`: the I-th of N disjoint, balanced parts of the selection."""


class StorageChoices(ConnectionChoices, total=False):
    """Keywords of functions that write images; None means the default."""

    source: Source | None
    """Archive to download from."""
    layout: str | None
    """`uid`, `descriptive` or a template."""
    keep_formulas: bool | None
    """Write values to metadata.csv that a spreadsheet would evaluate (`=…`) as they are."""
    no_fsync: bool | None
    """Do not force data to the disk: a power cut may damage series that count as complete."""
    no_space_check: bool | None
    """Start even if the disk has too little free space."""


class Choices(FilterChoices, StorageChoices, total=False):
    """Keywords of `download`, `plan` and `iter_series`; None means the default.

    The names are those of the command line's options.
    """

    shared_cart: Words | None
    """Names of carts shared on NBIA's page: further targets."""
    frozen: bool | None
    """Download only the versions of series that `targets`, which are lock files, name."""
    update: bool | None
    """Download series again that changed in the archive."""
    accept_listed: bool | None
    """Accept an archive's list although more series or images are known."""
    commercial_use: bool | None
    """Refuse collections whose license forbids commercial use."""
    supporting: bool | None
    """Also download clinical tables, annotations and manifests."""
    supporting_only: bool | None
    """Download only these, and no images."""


_RUNTIME_TYPES: Mapping[Any, Any] = {int: Integral, float: Real, Literal: str}
"""Types to accept for a hint: NumPy's numbers, too."""
_TYPE_NAMES = {
    bool: "True or False",
    Integral: "a whole number",
    Real: "a number",
    str: "text",
    Path: "a path",
}
_FILTERS = {
    "patient": "patients",
    "study": "studies",
    "series": "series",
    "modality": "modalities",
    "body_part": "body_parts",
    "description": "descriptions",
    "where": "where",
    "first_patients": "first_patients",
    "max_series": "max_series",
}
"""Keyword to field of `Filters`."""
_LISTS: dict[str, Kind] = {
    "patients": "patient",
    "studies": "study",
    "series": "series",
    "modalities": "modality",
    "body_parts": "body_part",
}
"""Fields that take commas and `@FILE`, and the kind of column in such a file."""


def given(arguments: Mapping[str, Any], choices: type) -> dict[str, Any]:
    """The keywords of a TypedDict among the arguments of a function."""
    return {name: arguments[name] for name in _hints(choices)}


def check_choices(choices: Mapping[str, object], allowed: type = Choices) -> dict[str, Any]:
    """Check names, types and ranges; return the choices that are not None.

    Raises:
        UsageError: a value has the wrong type or is out of range.
        TypeError: a keyword does not exist.
    """
    hints = _hints(allowed)
    for name in choices:
        if name not in hints:
            suggestion = did_you_mean(name, hints)
            raise TypeError(f"unexpected keyword {name!r}; {suggestion}".removesuffix("; "))
    checked = {
        name: check_value(name, value, hints[name])
        for name, value in choices.items()
        if value is not None
    }
    for name in ("jobs", "processes", "first_patients", "max_series"):
        if checked.get(name, 1) < 1:
            raise UsageError(f"{name} must be at least 1, not {checked[name]}")
    if "layout" in checked:
        Layout.parse(checked["layout"])
    return checked


def check_value(name: str, value: Any, hint: Any) -> Any:
    """Check the type of one value; return a tuple if the hint allows several values.

    Raises:
        UsageError: the value has the wrong type.
    """
    kinds = get_args(hint)
    types = tuple(
        _RUNTIME_TYPES.get(get_origin(kind) or kind, kind)
        for kind in kinds
        if get_origin(kind) is not Sequence
    )
    several = len(types) < len(kinds)
    is_list = several and isinstance(value, Iterable) and not isinstance(value, types)
    values = tuple(value) if is_list else (value,)
    for item in values:
        if not isinstance(item, types) or (isinstance(item, bool) and bool not in types):
            wanted = " or ".join(_TYPE_NAMES[kind] for kind in types if kind in _TYPE_NAMES)
            raise UsageError(f"{name} must be {wanted}, not {item!r}"[:200])
    literals = [
        literal for kind in kinds if get_origin(kind) is Literal for literal in kind.__args__
    ]
    if literals and value not in literals:
        raise UsageError(f"{name} must be one of {', '.join(literals)}, not {value!r}")
    return values if several else value


@cache
def _hints(choices: type) -> dict[str, Any]:
    return get_type_hints(choices)


def folder_from(value: str | Path, name: str = "directory") -> Path:
    """Check the path of a folder.

    Raises:
        UsageError: it is not a path.
    """
    return Path(check_value(name, value, str | Path))


def registry_from(files: Paths | None) -> Registry:
    """Read the shipped registry, and the files of the keyword `registry`.

    Raises:
        UsageError: a value is not a path.
        RegistryError: a file is invalid.
    """
    paths = () if files is None else check_value("registry", files, Paths)
    return load_registry(tuple(map(str, paths)))


def output_from(value: str | Path) -> str:
    """Check the output folder, which holds the collections' folders.

    Raises:
        UsageError: it has no name, or is a collection's folder itself.
    """
    path = folder_from(value, "output")
    if not str(value):
        raise UsageError("the output folder has no name", hint="name one with --output DIR")
    if os.path.isdir(path / STATE_FOLDER):  # noqa: PTH112 - False if it cannot be read
        raise UsageError(
            f"{value} is one collection's own folder",
            hint=f"the output is the folder that holds it: {path.resolve().parent}",
        )
    return str(value)


def targets_from(
    values: Targets, *, pinned: bool = False
) -> tuple[tuple[str, ...], tuple[Manifest, ...]]:
    """Return the words among the targets, and the series, dicts and tables as one manifest.

    With `pinned`, series and dicts also name their versions, as lock files do.

    Raises:
        UsageError: a value cannot be a target.
        ManifestError: an object names no series.
    """
    if isinstance(values, str | Path | Series | Mapping) or is_table(values):
        items: list[Any] = [values]
    elif isinstance(values, Iterable):
        items = list(values)
    else:
        raise _no_target(values)
    words = [str(item) for item in items if isinstance(item, str | Path)]
    objects = [item for item in items if not isinstance(item, str | Path)]
    for item in objects:
        if not (isinstance(item, Series | Mapping) or is_table(item)):
            raise _no_target(item)
    return split_targets(words), (read_objects(objects, pinned=pinned),) if objects else ()


def _no_target(value: object) -> UsageError:
    wanted = "text, paths, series, dicts with SeriesInstanceUID, or tables with such a column"
    return UsageError(f"targets must be {wanted}, not {value!r}"[:200])


def against_from(
    targets: Targets | None, directory: Path, checked: Mapping[str, Any]
) -> Request | None:
    """Build the request that a folder is compared with; None without targets.

    Raises:
        UsageError: there are filters, and no targets.
    """
    filters, shard = _filters(checked), checked.get("shard")
    if targets is None:
        if filters != Filters() or shard is not None:
            raise UsageError(
                "filters select what the folder is compared with", hint="name it with 'against'"
            )
        return None
    words, manifests = targets_from(targets, pinned=True)
    options = build_options(checked)
    return Request(words, str(directory), manifests, filters=filters, options=options)


def request_from(
    targets: Targets, output: str | Path = DEFAULT_OUTPUT, **choices: Unpack[Choices]
) -> Request:
    """Build a request from plain values.

    Raises:
        UsageError: a value has the wrong type or is out of range.
        TypeError: a keyword does not exist.
    """
    checked = check_choices(choices)
    words, manifests = targets_from(targets, pinned=bool(checked.get("frozen")))
    return Request(
        words,
        output_from(output),
        manifests,
        carts=checked.get("shared_cart", ()),
        filters=_filters(checked),
        options=build_options(checked),
    )


def build_options(checked: Mapping[str, Any]) -> Options:
    """Build the options of a run from what `check_choices` returns."""
    own = {field.name: checked[field.name] for field in fields(Options) if field.name in checked}
    if "registry" in own:
        own["registry"] = tuple(map(str, own["registry"]))
    if isinstance(own.get("shard"), str):
        own["shard"] = parse_shard(own["shard"])
    return Options(
        **own,
        http=_settings(checked),
        durable=not checked.get("no_fsync"),
        space_check=not checked.get("no_space_check"),
    )


def _settings(checked: Mapping[str, Any]) -> HttpSettings:
    own = {f.name: checked[f.name] for f in fields(HttpSettings) if f.name in checked}
    for name in own.keys() & {"min_rate", "max_rate"}:
        own[name] = float(parse_rate(own[name]) if isinstance(own[name], str) else own[name])
    return HttpSettings(**own)


def _filters(checked: Mapping[str, Any]) -> Filters:
    own = {field: checked[name] for name, field in _FILTERS.items() if name in checked}
    for name in own.keys() & _LISTS.keys():
        own[name] = tuple(part for value in own[name] for part in _values(value, _LISTS[name]))
    if "max_size" in checked:
        size = checked["max_size"]
        own["max_size"] = parse_size(size) if isinstance(size, str) else int(size)
    return Filters(**own)


def _values(text: str, kind: Kind) -> Iterable[str]:
    """Split values at commas; read those of `@FILE` from a list, or from a column of a table.

    Raises:
        ManifestError: the file cannot be read, or has no such column.
    """
    if not text.startswith("@"):
        return [part.strip() for part in text.split(",")]
    from tcia_covid.selection.manifests.read import read_manifest  # noqa: PLC0415 - few runs need it

    file = os.path.expanduser(text[1:])  # noqa: PTH111 - "-" stays "-"
    named = read_manifest(file, only=kind).identifiers
    values = [*named.get(kind, ()), *named.get("word", ())]
    if not values:  # a filter without values would select everything
        raise ManifestError(
            f"{file} names values of {', '.join(named)}, and none of {kind}",
            hint="give the file as a TARGET instead",
        )
    return values
