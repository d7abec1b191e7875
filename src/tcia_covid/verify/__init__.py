"""Checking a tree again: every file against its receipt, every series against its archive."""

from tcia_covid.verify.check import verify
from tcia_covid.verify.result import Damage, Online, Reason, Tally, VerifyResult, document
from tcia_covid.verify.trees import trees_in

__all__ = [
    "Damage",
    "Online",
    "Reason",
    "Tally",
    "VerifyResult",
    "document",
    "trees_in",
    "verify",
]
