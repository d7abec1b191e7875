"""Download The Cancer Imaging Archive's COVID-19 collections: complete, checked, resumable."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcia_covid.api.dataframes import clinical, labels, to_dataframe
    from tcia_covid.api.functions import (
        doctor,
        download,
        iter_series,
        local_series,
        other_collections,
        plan,
        report,
        status,
        verify,
    )
    from tcia_covid.api.options import Choices
    from tcia_covid.catalog.collections import Registry
    from tcia_covid.catalog.registry import load_registry
    from tcia_covid.core.cancellation import CancelToken
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
    from tcia_covid.operations.files import LocalSeries
    from tcia_covid.operations.plan import Plan
    from tcia_covid.operations.report import ReportResult

__all__ = [
    "ArchiveError",
    "CancelToken",
    "Choices",
    "DestinationError",
    "Failure",
    "InterruptedRunError",
    "LocalSeries",
    "Plan",
    "Registry",
    "ReportResult",
    "RequestError",
    "Series",
    "Summary",
    "TciaCovidError",
    "clinical",
    "doctor",
    "download",
    "iter_series",
    "labels",
    "load_registry",
    "local_series",
    "other_collections",
    "plan",
    "report",
    "status",
    "to_dataframe",
    "verify",
]

_MODULES = {
    "ArchiveError": "core.errors",
    "CancelToken": "core.cancellation",
    "Choices": "api.options",
    "DestinationError": "core.errors",
    "Failure": "core.models",
    "InterruptedRunError": "core.errors",
    "LocalSeries": "operations.files",
    "Plan": "operations.plan",
    "Registry": "catalog.collections",
    "ReportResult": "operations.report",
    "RequestError": "core.errors",
    "Series": "core.models",
    "Summary": "core.summary",
    "TciaCovidError": "core.errors",
    "__version__": "core.version",
    "clinical": "api.dataframes",
    "doctor": "api.functions",
    "download": "api.functions",
    "iter_series": "api.functions",
    "labels": "api.dataframes",
    "load_registry": "catalog.registry",
    "local_series": "api.functions",
    "other_collections": "api.functions",
    "plan": "api.functions",
    "report": "api.functions",
    "status": "api.functions",
    "to_dataframe": "api.dataframes",
    "verify": "api.functions",
}
"""The module that defines each public name."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package stays fast."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
