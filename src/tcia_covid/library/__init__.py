"""The same from Python: what `tcia_covid.download` and its like are."""

from tcia_covid.library.choices import Choices, options_of, request_of
from tcia_covid.library.functions import download, iter_series, plan, status, verify

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
