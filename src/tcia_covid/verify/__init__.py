"""Checking a tree again: every file against its receipt, every series against its archive."""

from tcia_covid.verify.check import verify
from tcia_covid.verify.result import Damage, Online, Reason, Tally, VerifyResult, document

__all__ = [
    "Damage",
    "Online",
    "Reason",
    "Tally",
    "VerifyResult",
    "document",
    "verify",
]
