"""What can be chosen by keyword."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, get_type_hints

from tcia_covid.api.arguments import (
    Bytes,
    Paths,
    Words,
    bytes_from,
    check_kinds,
    output_from,
    paths_from,
    words_from,
)
from tcia_covid.core.errors import UsageError, did_you_mean
from tcia_covid.core.settings import DEFAULT_OUTPUT, HttpSettings
from tcia_covid.selection.filters import Filters
from tcia_covid.selection.request import SOURCES, Options, Request, Source
from tcia_covid.selection.shards import Shard, parse_shard
from tcia_covid.store.layout import Layout

if TYPE_CHECKING:
    from typing_extensions import Unpack as Unpack  # noqa: PLC0414 - the jobs import it, too
elif sys.version_info >= (3, 11):
    from typing import Unpack
else:

    class Unpack:
        """Stands in for what Python 3.10 lacks, so that hints can be resolved."""

        def __class_getitem__(cls, of: Any) -> Any:
            return of


class Choices(TypedDict, total=False):
    """What can be chosen by keyword; None means the default, as leaving out does.

    The names are those of the command line's options.
    """

    shared_cart: Words | None
    """Names of carts shared on NBIA's page, as further targets."""
    patient: Words | None
    study: Words | None
    series: Words | None
    modality: Words | None
    body_part: Words | None
    description: Words | None
    """Regular expressions, found anywhere in a series' description, in any case."""
    first_patients: int | None
    max_series: int | None
    max_size: Bytes | None
    shard: str | Shard | None
    """`"I/N"`: the I-th of N disjoint, balanced shares."""
    jobs: int | None
    """Series to receive at once; from IDC, a third more."""
    source: Source | None
    layout: str | None
    """`uid`, `descriptive` or a template."""
    max_rate: Bytes | None
    """Bytes a second, all connections together."""
    min_rate: Bytes | None
    """Bytes a second; a slower answer is dropped and asked for again."""
    retries: int | None
    retry_wait: float | None
    """Seconds, as all durations."""
    connect_timeout: float | None
    first_byte_timeout: float | None
    stall_timeout: float | None
    outage_timeout: float | None
    """Seconds that a run which had worked bears that no archive answers any more."""
    update: bool | None
    accept_listed: bool | None
    commercial_use: bool | None
    """Refuse collections whose license forbids it."""
    supporting: bool | None
    """Fetch clinical tables, annotations and manifests, too."""
    supporting_only: bool | None
    """Fetch these and no images."""
    no_fsync: bool | None
    """Do not force data to the disk: a power cut may damage series that count as complete."""
    registry: Paths | None
    """Files of collections, added to the shipped one."""
    nbia_url: str | None
    idc_url: str | None
    site_url: str | None


def options_from(**choices: Unpack[Choices]) -> Options:
    """Make the options of a run of plain values.

    Raises:
        UsageError: a value makes no sense.
        TypeError: there is no such choice.
    """
    unknown = sorted(choices.keys() - Choices.__annotations__.keys())
    if unknown:
        suggestion = did_you_mean(unknown[0], Choices.__annotations__)
        raise TypeError(f"there is no choice {unknown[0]!r}; {suggestion}".removesuffix("; "))
    _check(choices)
    shard = choices.get("shard")
    given = {
        name: choices[name]  # type: ignore[literal-required]
        for name in ("jobs", "source", "layout", "nbia_url", "idc_url", "site_url", *_FLAGS)
        if choices.get(name) is not None
    }
    return Options(
        **given,
        http=_settings(choices),
        registry=paths_from("registry", choices.get("registry")),
        shard=parse_shard(shard) if isinstance(shard, str) else shard,
        durable=not choices.get("no_fsync"),
    )


_FLAGS = ("update", "accept_listed", "commercial_use", "supporting", "supporting_only")


def _settings(choices: Choices) -> HttpSettings:
    given: dict[str, Any] = {
        one.name: choices[one.name]  # type: ignore[literal-required]
        for one in fields(HttpSettings)
        if choices.get(one.name) is not None
    }
    for name in ("min_rate", "max_rate"):
        if name in given:
            given[name] = float(bytes_from(given[name]))
    return HttpSettings(**given)


def _check(choices: Choices) -> None:
    check_kinds(choices, get_type_hints(Choices))
    jobs, source = choices.get("jobs"), choices.get("source")
    layout = choices.get("layout")
    if layout is not None:
        Layout.parse(layout)
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs has to be at least 1, not {jobs}")
    for name, number in (
        ("first_patients", choices.get("first_patients")),
        ("max_series", choices.get("max_series")),
    ):
        if number is not None and number < 1:
            raise UsageError(f"{name} has to be at least 1, not {number}")
    if source not in (None, *SOURCES):
        raise UsageError(f"source has to be one of {', '.join(SOURCES)}, not {source!r}")


def request_from(
    targets: Paths, output: str | Path = DEFAULT_OUTPUT, **choices: Unpack[Choices]
) -> Request:
    """Make a request of plain values.

    Raises:
        UsageError: a value makes no sense.
        TypeError: there is no such choice.
    """
    return Request(
        targets=paths_from("targets", targets),
        output=output_from(output),
        carts=words_from("shared_cart", choices.get("shared_cart")),
        options=options_from(**choices),
        filters=_filters(choices),
    )


def _filters(choices: Choices) -> Filters:
    size = choices.get("max_size")
    return Filters(
        patients=words_from("patient", choices.get("patient")),
        studies=words_from("study", choices.get("study")),
        series=words_from("series", choices.get("series")),
        modalities=words_from("modality", choices.get("modality")),
        body_parts=words_from("body_part", choices.get("body_part")),
        descriptions=words_from("description", choices.get("description")),
        first_patients=choices.get("first_patients"),
        max_series=choices.get("max_series"),
        max_size=None if size is None else bytes_from(size),
    )
