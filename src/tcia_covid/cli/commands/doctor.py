"""`doctor`: checks what downloads rely on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from operator import attrgetter
from typing import Any

from tcia_covid.api.functions import doctor
from tcia_covid.cli.console import Console
from tcia_covid.cli.progress import run_displayed
from tcia_covid.core.errors import EXIT_ARCHIVE, EXIT_DESTINATION, EXIT_OK
from tcia_covid.core.units import count, format_size
from tcia_covid.core.version import __version__
from tcia_covid.operations.doctor import DoctorResult
from tcia_covid.operations.doctor_facts import Fact, FactOutcome
from tcia_covid.output.json_documents import doctor_document

_WORDS = {FactOutcome.OK: "ok", FactOutcome.FAILED: "FAILED", FactOutcome.NOT_CHECKED: "-"}
_ABSENT = "no"
"""The word of an optional fact that failed."""


def command(console: Console, *, directory: str, **choices: Any) -> int:
    """Check what downloads rely on: disk, network, archives."""
    given = {name: value for name, value in choices.items() if value is not None}
    result = run_displayed(console, partial(doctor, directory, **given))
    console.document(doctor_document(result))
    console.result("\n".join(report_lines(result)))
    if result.exit_code != EXIT_OK:
        console.error(*_error(result))
    return result.exit_code


def report_lines(result: DoctorResult) -> Iterator[str]:
    """The report: every fact with what was seen."""
    yield f"tcia-covid {__version__} doctor, {result.output}"
    yield from (f"{name}: {text}" for name, text in result.environment.items())
    series = result.series
    yield (
        f"series: {series.uid} of {series.collection}, "
        f"{count(series.image_count or 0, 'image')}, {format_size(series.size or 0)}"
    )
    names = max(len(fact.name) for fact in result.facts)
    for _, facts in itertools.groupby(result.facts, attrgetter("group")):
        yield ""
        for fact in facts:
            yield f"{_word(fact):6}  {fact.name:{names}}  {fact.seen}"
            if fact.outcome is FactOutcome.FAILED and fact.hint:
                yield f"{'':6}  {'':{names}}  {fact.hint}"
    yield ""
    passed, unchecked = (
        result.counts[outcome] for outcome in (FactOutcome.OK, FactOutcome.NOT_CHECKED)
    )
    absent = result.counts[FactOutcome.FAILED] - len(result.failed)
    numbers = {"ok": passed, "FAILED": len(result.failed), "no (works without)": absent}
    shown = [f"{number} {word}" for word, number in numbers.items() if number]
    yield ", ".join([*shown, f"{unchecked} not checked (-)"]) + f", in {result.seconds:.0f} s"


def _word(fact: Fact) -> str:
    return _ABSENT if fact.outcome is FactOutcome.FAILED and fact.optional else _WORDS[fact.outcome]


def _error(result: DoctorResult) -> tuple[str, str]:
    """What does not work, and what to do next."""
    hint = next((fact.hint for fact in result.failed if fact.hint), "")
    names = ", ".join(fact.name for fact in result.failed)
    if result.exit_code == EXIT_DESTINATION:
        return f"{result.output} cannot be used: {names}", hint
    if result.exit_code == EXIT_ARCHIVE:
        return f"no archive sent images: {names}", hint
    report = "if other programs reach the network, paste this report into an issue"
    return f"{count(len(result.failed), 'fact')} failed: {names}", report
