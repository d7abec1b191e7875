"""Download The Cancer Imaging Archive's COVID-19 collections: complete, checked, resumable."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcia_covid.api.functions import download, iter_series, plan, status, verify
    from tcia_covid.api.options import Choices
    from tcia_covid.catalog.collections import Registry
    from tcia_covid.catalog.registry import load_registry
    from tcia_covid.core.cancellation import CancelToken as Stop
    from tcia_covid.core.errors import (
        ArchiveError,
        DestinationError,
        InterruptedRunError,
        RequestError,
        TciaCovidError,
    )
    from tcia_covid.core.models import Failure, Series
    from tcia_covid.core.summary import Summary
    from tcia_covid.core.version import __version__ as __version__
    from tcia_covid.operations.plan import Plan

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

_MODULES = {
    "core.version": ("__version__",),
    "api.functions": (
        "download",
        "iter_series",
        "plan",
        "status",
        "verify",
    ),
    "api.options": ("Choices",),
    "catalog.collections": ("Registry",),
    "catalog.registry": ("load_registry",),
    "core.cancellation": ("Stop=CancelToken",),
    "core.errors": (
        "ArchiveError",
        "DestinationError",
        "InterruptedRunError",
        "RequestError",
        "TciaCovidError",
    ),
    "core.models": (
        "Failure",
        "Series",
    ),
    "core.summary": ("Summary",),
    "operations.plan": ("Plan",),
}
"""Where the public names are defined, as `name` or `public name=name`."""
_HOMES = {
    name.partition("=")[0]: (module, name.rpartition("=")[2])
    for module, names in _MODULES.items()
    for name in names
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: importing the package costs next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, defined = _HOMES[name]
    value = getattr(import_module(f"{__name__}.{module}"), defined)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
