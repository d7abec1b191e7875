"""The same from Python: what `tcia_covid.download` and its like are.

The main jobs are plain functions over plain values, which never print, exit or log. Each has a
module of its own, imported when it is first used: the jobs share little.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcia_covid.library.choices import Choices, options_of, request_of
    from tcia_covid.library.downloading import download
    from tcia_covid.library.listing import iter_series
    from tcia_covid.library.planning import plan
    from tcia_covid.library.standing import status
    from tcia_covid.library.verifying import verify

__all__ = [
    "Choices",
    "download",
    "iter_series",
    "options_of",
    "plan",
    "request_of",
    "status",
    "verify",
]

_HOMES = {
    "Choices": "choices",
    "download": "downloading",
    "iter_series": "listing",
    "options_of": "choices",
    "plan": "planning",
    "request_of": "choices",
    "status": "standing",
    "verify": "verifying",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
