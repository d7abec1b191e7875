"""Supporting files are compared with their receipts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.archives.portal import PortalApi
from tcia_covid.catalog.collections import Collection, SupportingFile
from tcia_covid.operations.status import read_status
from tcia_covid.operations.verify import verify_directory
from tcia_covid.operations.verify_files import Reason
from tcia_covid.store.disk import Disk
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.download import fetch_supporting
from tests.fakes.portal import FakePortal
from tests.unit.http.helpers import client_with


@pytest.mark.parametrize("how", ["intact", "changed", "deleted"])
def test_supporting_files_are_compared_with_their_receipts(tmp_path: Path, how: str) -> None:
    tree = Tree(tmp_path / "DEMO", disk=Disk(durable=False))
    tree.prepare()
    with FakePortal() as site, client_with() as client:
        site.file("table.csv", b"a,b\n")
        file = SupportingFile("Table", "clinical", "table.csv", site.address("table.csv"))
        collection = Collection("DEMO", "DICOM", "DEMO", supporting=(file,))
        fetch_supporting(collection, tree, client, PortalApi(client, site.url))
    path = tree.root / "supporting" / "table.csv"
    if how == "changed":
        path.write_bytes(b"x")
    elif how == "deleted":
        path.unlink()
    result = verify_directory(tmp_path)
    damage = [(damaged.file, damaged.reason) for damaged in result.damage]
    reasons = {"intact": [], "changed": [Reason.CHANGED], "deleted": [Reason.MISSING]}
    assert all(damaged.option == "--supporting" for damaged in result.damage)
    supporting = read_status(tmp_path).collections[0].supporting
    assert (supporting.files, supporting.size) == (1, 4)
    assert supporting.missing == (["table.csv"] if how == "deleted" else [])
    assert damage == [("DEMO/supporting/table.csv", reason) for reason in reasons[how]]
