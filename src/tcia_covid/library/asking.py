"""A request made of plain values."""

from __future__ import annotations

from pathlib import Path

from tcia_covid.defaults import DEFAULT_OUTPUT
from tcia_covid.library.choices import Choices, Unpack, options_of
from tcia_covid.library.plain import Paths, bytes_of, output_of, paths_of, words_of
from tcia_covid.request import Request
from tcia_covid.selection.filters import Filters


def request_of(
    targets: Paths, output: str | Path = DEFAULT_OUTPUT, **choices: Unpack[Choices]
) -> Request:
    """Make a request of plain values.

    Raises:
        UsageError: a value makes no sense.
        TypeError: there is no such choice.
    """
    return Request(
        targets=paths_of("targets", targets),
        output=output_of(output),
        carts=words_of("shared_cart", choices.get("shared_cart")),
        options=options_of(**choices),
        filters=_filters(choices),
    )


def _filters(choices: Choices) -> Filters:
    size = choices.get("max_size")
    return Filters(
        patients=words_of("patient", choices.get("patient")),
        studies=words_of("study", choices.get("study")),
        series=words_of("series", choices.get("series")),
        modalities=words_of("modality", choices.get("modality")),
        body_parts=words_of("body_part", choices.get("body_part")),
        descriptions=words_of("description", choices.get("description")),
        first_patients=choices.get("first_patients"),
        max_series=choices.get("max_series"),
        max_size=None if size is None else bytes_of(size),
    )
