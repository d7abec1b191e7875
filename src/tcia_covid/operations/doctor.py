"""Checks what this program relies on: this machine, the network, and both archives."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tcia_covid.archives.idc.endpoints import DEFAULT_ENDPOINTS
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
    IdcChecks,
    NbiaChecks,
    compare_images,
    smallest_series,
)
from tcia_covid.operations.doctor_disk import DiskChecks, MachineChecks
from tcia_covid.operations.doctor_facts import Fact, FactOutcome, anonymous, program_details
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
"""Settings of the connections: short time-outs and few retries."""
SENDS_IMAGES = frozenset({"zip", "image", "object"})
"""Facts that show that an archive sends images."""


@dataclass(frozen=True, slots=True)
class DoctorResult:
    """The result of `doctor`: the facts, and what was requested."""

    output: str
    """The folder that was checked, with `~` for the home folder."""
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
        return [
            fact for fact in self.facts if fact.outcome is FactOutcome.FAILED and not fact.optional
        ]

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
    """Check this machine, the connections and the archives; facts that fail raise nothing.

    The folder `output` need not exist. What is written to it is removed.

    Raises:
        UsageError: an archive's address cannot be used (see `check_addresses`).
        InterruptedRunError: `stop` was set.
    """
    begun, stop = time.monotonic(), stop or CancelToken()
    emit(Notice(f"checking {output}"))
    series = smallest_series()
    facts = [*MachineChecks(options.jobs).run(), *DiskChecks(output, disk or Disk()).run()]
    stop.check()
    archives = _archives(options, series, partial(Client, options.http, stop=stop, emit=emit))
    names = " and ".join(sorted({each.group.partition("-")[0].upper() for each in archives}))
    emit(Notice(f"checking the connections to {names}, and what they send"))
    try:
        for _, found in parallel_map(ArchiveChecks.run, archives, len(archives), stop):
            facts += found
    finally:
        for each in archives:
            each.client.close()
    stop.check()
    facts += compare_images(archives)
    return DoctorResult(
        output=anonymous(str(output)),
        environment=_environment(options),
        series=series,
        facts=tuple(facts),
        seconds=round(time.monotonic() - begun, 3),
    )


def _archives(
    options: Options, series: Series, client: Callable[..., Client]
) -> Sequence[ArchiveChecks]:
    """NBIA, and each of IDC's endpoints."""
    archives: list[ArchiveChecks] = []
    if options.source != "idc":
        archives.append(NbiaChecks(client(connections=2), options.nbia_url, series))
    if options.source != "nbia":
        endpoints = [text.strip() for text in (options.idc_url or DEFAULT_ENDPOINTS).split(",")]
        for number, endpoint in enumerate(endpoints, 1):
            name = endpoint.lower() if endpoint.lower() in {"aws", "gcs"} else str(number)
            group = "idc" if len(endpoints) == 1 else f"idc-{name}"
            archives.append(IdcChecks(group, client(connections=2), endpoint, series))
    return archives


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
