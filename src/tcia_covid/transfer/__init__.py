"""The life of one series: expected, streamed, settled, filled, proved, committed."""

from tcia_covid.transfer.series import Context, changed, fetch_series

__all__ = ["Context", "changed", "fetch_series"]
