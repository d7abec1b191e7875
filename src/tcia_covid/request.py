"""What is asked for, and how."""

from __future__ import annotations

from dataclasses import dataclass, field

from tcia_covid.defaults import DEFAULT_OUTPUT
from tcia_covid.options import Options
from tcia_covid.selection.filters import Filters


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, and how."""

    targets: tuple[str, ...]
    output: str = DEFAULT_OUTPUT
    carts: tuple[str, ...] = ()
    """Names of carts shared on NBIA's page, whose series are targets, too."""
    filters: Filters = field(default_factory=Filters)
    options: Options = field(default_factory=Options)
