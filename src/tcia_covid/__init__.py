"""Download The Cancer Imaging Archive's COVID-19 collections: complete, checked, resumable."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcia_covid.api.dataframes import clinical, labels, to_dataframe
    from tcia_covid.api.functions import (
        adopt,
        doctor,
        download,
        iter_series,
        other_collections,
        plan,
        relayout,
        report,
        status,
        verify,
    )
    from tcia_covid.api.local import cite, files, info, local_series
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
    from tcia_covid.core.events import (
        ActivityFinished,
        ActivityStarted,
        BytesStored,
        ConcurrencyChanged,
        DamageFound,
        Event,
        ImagesChecked,
        Notice,
        PhaseChanged,
        RateLimited,
        RequestRetried,
        RunFinished,
        RunStarted,
        SeriesFinished,
        SeriesRetried,
        SeriesStarted,
    )
    from tcia_covid.core.models import Failure, Series
    from tcia_covid.core.summary import Summary
    from tcia_covid.core.version import __version__ as __version__
    from tcia_covid.operations.adopt import AdoptResult
    from tcia_covid.operations.files import LocalSeries
    from tcia_covid.operations.plan import Plan
    from tcia_covid.operations.report import ReportResult
    from tcia_covid.operations.status import StatusResult
    from tcia_covid.operations.verify import VerifyResult

__all__ = [
    "ActivityFinished",
    "ActivityStarted",
    "AdoptResult",
    "ArchiveError",
    "BytesStored",
    "CancelToken",
    "Choices",
    "ConcurrencyChanged",
    "DamageFound",
    "DestinationError",
    "Event",
    "Failure",
    "ImagesChecked",
    "InterruptedRunError",
    "LocalSeries",
    "Notice",
    "PhaseChanged",
    "Plan",
    "RateLimited",
    "Registry",
    "ReportResult",
    "RequestError",
    "RequestRetried",
    "RunFinished",
    "RunStarted",
    "Series",
    "SeriesFinished",
    "SeriesRetried",
    "SeriesStarted",
    "StatusResult",
    "Summary",
    "TciaCovidError",
    "VerifyResult",
    "adopt",
    "cite",
    "clinical",
    "doctor",
    "download",
    "files",
    "info",
    "iter_series",
    "labels",
    "load_registry",
    "local_series",
    "other_collections",
    "plan",
    "relayout",
    "report",
    "status",
    "to_dataframe",
    "verify",
]

_MODULES = {
    "ActivityFinished": "core.events",
    "ActivityStarted": "core.events",
    "AdoptResult": "operations.adopt",
    "ArchiveError": "core.errors",
    "BytesStored": "core.events",
    "CancelToken": "core.cancellation",
    "Choices": "api.options",
    "ConcurrencyChanged": "core.events",
    "DamageFound": "core.events",
    "DestinationError": "core.errors",
    "Event": "core.events",
    "Failure": "core.models",
    "ImagesChecked": "core.events",
    "InterruptedRunError": "core.errors",
    "LocalSeries": "operations.files",
    "Notice": "core.events",
    "PhaseChanged": "core.events",
    "Plan": "operations.plan",
    "RateLimited": "core.events",
    "Registry": "catalog.collections",
    "ReportResult": "operations.report",
    "RequestError": "core.errors",
    "RequestRetried": "core.events",
    "RunFinished": "core.events",
    "RunStarted": "core.events",
    "Series": "core.models",
    "SeriesFinished": "core.events",
    "SeriesRetried": "core.events",
    "SeriesStarted": "core.events",
    "StatusResult": "operations.status",
    "Summary": "core.summary",
    "TciaCovidError": "core.errors",
    "VerifyResult": "operations.verify",
    "__version__": "core.version",
    "adopt": "api.functions",
    "cite": "api.local",
    "clinical": "api.dataframes",
    "doctor": "api.functions",
    "download": "api.functions",
    "files": "api.local",
    "info": "api.local",
    "iter_series": "api.functions",
    "labels": "api.dataframes",
    "load_registry": "catalog.registry",
    "local_series": "api.local",
    "other_collections": "api.functions",
    "plan": "api.functions",
    "relayout": "api.functions",
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
