"""The tree on disk: staging, atomic commit, receipts, locks, recovery.

The invariant: a series folder stands in the tree if and only if every image of it is there and
checked.
"""

from tcia_covid.store.disk import Disk
from tcia_covid.store.layout import DESCRIPTIVE, UID, Layout
from tcia_covid.store.receipts import Receipts
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import Tree

__all__ = ["DESCRIPTIVE", "UID", "Disk", "Layout", "Receipts", "Staging", "Tree"]
