"""A local TCIA web site, and a collection's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_covid.store.disk import Disk
from tcia_covid.store.tree import Tree
from tests.fakes.portal import FakePortal


@pytest.fixture
def site() -> Iterator[FakePortal]:
    with FakePortal() as running:
        yield running


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "DEMO", disk=Disk(durable=False))
    tree.prepare()
    return tree
