"""A tree with one series."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.core.models import Receipt
from tcia_covid.store.tree import Tree
from tests.unit.trees import grow, new_tree, series_of


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path)


@pytest.fixture
def receipt(tree: Tree) -> Receipt:
    """Of the only series in the tree."""
    return grow(tree, series_of(1))
