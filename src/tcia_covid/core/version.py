"""The version of this program."""

from __future__ import annotations

__version__ = "0.1.0"
PROGRAM = f"tcia-covid {__version__}"
"""Name and version, as records have them."""
