"""Download The Cancer Imaging Archive's COVID-19 collections: complete, checked, resumable."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcia_covid.errors import (
        ArchiveError,
        DestinationError,
        InterruptedRunError,
        RequestError,
        TciaCovidError,
    )
    from tcia_covid.library.choices import Choices
    from tcia_covid.library.downloading import download
    from tcia_covid.library.listing import iter_series
    from tcia_covid.library.planning import plan
    from tcia_covid.library.standing import status
    from tcia_covid.library.verifying import verify
    from tcia_covid.model import Failure, Series
    from tcia_covid.plan import Plan
    from tcia_covid.registry import Registry, load_registry
    from tcia_covid.stop import Stop
    from tcia_covid.summary import Summary

__version__ = "0.1.0"
__all__ = [
    "ArchiveError",
    "Choices",
    "DestinationError",
    "Failure",
    "InterruptedRunError",
    "Plan",
    "Registry",
    "RequestError",
    "Series",
    "Stop",
    "Summary",
    "TciaCovidError",
    "download",
    "iter_series",
    "load_registry",
    "plan",
    "status",
    "verify",
]

_HOMES = {
    "library.choices": ("Choices",),
    "library.downloading": ("download",),
    "library.listing": ("iter_series",),
    "library.planning": ("plan",),
    "library.standing": ("status",),
    "library.verifying": ("verify",),
    "errors": (
        "ArchiveError",
        "DestinationError",
        "InterruptedRunError",
        "RequestError",
        "TciaCovidError",
    ),
    "model": ("Failure", "Series"),
    "summary": ("Summary",),
    "plan": ("Plan",),
    "registry": ("Registry", "load_registry"),
    "stop": ("Stop",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: importing the package costs next to nothing."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package: `tcia_covid.download` is the function, although a module is called so, too."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
