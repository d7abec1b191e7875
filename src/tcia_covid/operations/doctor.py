"""Trying out what this program relies on: this machine, the network, and both archives."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tcia_covid.archives.idc.archive import IdcArchive
from tcia_covid.archives.idc.endpoints import DEFAULT_ENDPOINTS, parse_endpoints
from tcia_covid.archives.nbia.archive import NbiaArchive
from tcia_covid.catalog import series_catalog
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_ARCHIVE, EXIT_DESTINATION, EXIT_OK, EXIT_PARTIAL
from tcia_covid.core.events import Emit, Notice, discard
from tcia_covid.core.models import Series
from tcia_covid.core.parallel import parallel_map
from tcia_covid.core.redaction import redact
from tcia_covid.http.client import Client
from tcia_covid.http.errors import ca_bundles
from tcia_covid.operations.doctor_archives import (
    ArchiveChecks,
    check_ca,
    check_idc,
    check_nbia,
    compare_images,
    smallest_series,
)
from tcia_covid.operations.doctor_disk import check_disk, check_open_files
from tcia_covid.operations.doctor_facts import (
    Fact,
    FactList,
    FactOutcome,
    anonymous,
    program_details,
)
from tcia_covid.selection.request import Options
from tcia_covid.store.disk import Disk

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_PREFIX = "TCIA_COVID_"
QUICK: Mapping[str, float] = {
    "retries": 1,
    "connect_timeout": 5.0,
    "first_byte_timeout": 60.0,
    "stall_timeout": 20.0,
}
"""Settings of the connections: nobody waits long for what does not work."""
SENDS_IMAGES = frozenset({"zip", "image", "object"})
"""Facts that an archive is of use with."""


@dataclass(frozen=True, slots=True)
class DoctorResult:
    """What was tried, and what was seen."""

    output: str
    """The folder that was tried, with `~` for the home folder."""
    environment: Mapping[str, str]
    """Versions and settings that a bug report should name."""
    series: Series
    """What was requested from each archive."""
    facts: tuple[Fact, ...]
    seconds: float

    @property
    def counts(self) -> Counter[FactOutcome]:
        """Facts by outcome."""
        return Counter(fact.outcome for fact in self.facts)

    @property
    def failed(self) -> list[Fact]:
        """Facts that failed, and that the program needs."""
        return [fact for fact in self.facts if fact.matters]

    @property
    def has_archive(self) -> bool:
        """Whether an archive sent images."""
        return any(
            fact.outcome is FactOutcome.OK and fact.name.partition(".")[2] in SENDS_IMAGES
            for fact in self.facts
        )

    @property
    def exit_code(self) -> int:
        """4 where the disk failed, 3 without an archive, 1 for any other fact that failed."""
        if any(fact.group == "disk" for fact in self.failed):
            return EXIT_DESTINATION
        if not self.has_archive:
            return EXIT_ARCHIVE
        return EXIT_PARTIAL if self.failed else EXIT_OK


def examine(
    options: Options,
    output: Path,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    disk: Disk | None = None,
) -> DoctorResult:
    """Try this machine, the connections and the archives; facts that fail raise nothing.

    Args:
        options: which archives, where, and the settings of the connections.
        output: the folder that downloads go to; it need not exist. What is written is removed.
        emit: receives a notice before each part.
        stop: set it from another thread to end early.
        disk: all file-system writes.

    Raises:
        UsageError: an archive's address cannot be used (see `check_addresses`).
        InterruptedRunError: `stop` was set.
    """
    begun, stop = time.monotonic(), stop or CancelToken()
    emit(Notice(f"checking {output}"))
    series = smallest_series()
    facts = [*_machine_facts(options), *check_disk(output, disk)]
    stop.check()
    archives = _archives(options, series, stop, emit)
    names = " and ".join(sorted({name.partition("-")[0].upper() for name in archives}))
    emit(Notice(f"checking the connections to {names}, and what they send"))
    jobs = len(archives)
    try:
        for (_, (checks, _)), _ in parallel_map(_check, archives.items(), jobs, stop):
            facts += checks.facts.facts
    finally:
        for checks, _ in archives.values():
            checks.client.close()
    facts += compare_images({name: checks.images for name, (checks, _) in archives.items()})
    return DoctorResult(
        output=anonymous(str(output)),
        environment=_environment(options),
        series=series,
        facts=tuple(facts),
        seconds=round(time.monotonic() - begun, 3),
    )


_Work = tuple[ArchiveChecks, Callable[[], None]]


def _check(item: tuple[str, _Work]) -> None:
    _, (_, work) = item
    work()


def _machine_facts(options: Options) -> list[Fact]:
    facts = FactList("machine")
    facts.check("open-files", lambda: check_open_files(options.jobs), optional=True)
    facts.check("ca", check_ca)
    return facts.facts


def _archives(options: Options, series: Series, stop: CancelToken, emit: Emit) -> dict[str, _Work]:
    """What to check of each archive, by its name in facts."""
    work: dict[str, _Work] = {}

    def checks(name: str, url: str, params: Mapping[str, str]) -> ArchiveChecks:
        client = Client(options.http, stop=stop, connections=2, emit=emit)
        return ArchiveChecks(FactList(name), client, url, params, series)

    if options.source != "idc":
        of_nbia = checks("nbia", f"{options.nbia_url.rstrip('/')}/getCollectionValues", {})
        nbia = NbiaArchive(of_nbia.client, options.nbia_url)
        work["nbia"] = of_nbia, partial(check_nbia, of_nbia, nbia)
    if options.source != "nbia":
        texts = (options.idc_url or DEFAULT_ENDPOINTS).split(",")
        for number, text in enumerate(map(str.strip, texts), 1):
            named = f"idc-{text.lower()}" if text.lower() in ("aws", "gcs") else f"idc-{number}"
            name = "idc" if len(texts) == 1 else named
            (endpoint,) = parse_endpoints(text)
            params = {"list-type": "2", "max-keys": "1", "prefix": f"{series.crdc_uuid}/"}
            of_idc = checks(name, endpoint.bucket_url(series.bucket or ""), params)
            idc = IdcArchive(
                of_idc.client,
                text,
                find=lambda uids: {uid: series for uid in uids if uid == series.uid},
                list_all=series_catalog.load,
            )
            work[name] = of_idc, partial(check_idc, of_idc, idc)
    return work


def _environment(options: Options) -> dict[str, str]:
    """Versions, archives, and the variables that change how requests are sent."""
    proxies = {
        name: redact(value) if "://" in value else anonymous(value)
        for word in _PROXIES
        for name in (word, word.lower())
        if (value := os.environ.get(name))
    }
    own = sorted(name for name in os.environ if name.startswith(_PREFIX))
    return {
        **program_details(),
        "source": options.source,
        "nbia_url": redact(options.nbia_url),
        "idc_url": anonymous(options.idc_url or DEFAULT_ENDPOINTS),
        **proxies,
        **{name: anonymous(value) for name, value in ca_bundles()},
        **({"set": ", ".join(own)} if own else {}),
    }
