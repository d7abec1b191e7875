"""The version of this program; what records say about who wrote them, and when."""

from __future__ import annotations

import time

__version__ = "0.1.0"
PROGRAM = f"tcia-covid {__version__}"


def utc_now() -> str:
    """The time, in UTC and ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
