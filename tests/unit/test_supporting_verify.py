from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.archives.site import SiteApi
from tcia_covid.registry import Collection, SupportingFile
from tcia_covid.status import status
from tcia_covid.store import Disk, Tree
from tcia_covid.supporting.fetching import fetch_supporting
from tcia_covid.verify import verify
from tcia_covid.verify.result import Reason
from tests.fakes.site import FakeSite
from tests.unit.requesting import client_with


@pytest.mark.parametrize("how", ["intact", "changed", "deleted"])
def test_supporting_files_are_compared_with_their_receipts(tmp_path: Path, how: str) -> None:
    tree = Tree(tmp_path / "DEMO", disk=Disk(durable=False))
    tree.prepare()
    with FakeSite() as site, client_with() as client:
        site.file("table.csv", b"a,b\n")
        file = SupportingFile("Table", "clinical", "table.csv", site.address("table.csv"))
        collection = Collection("DEMO", "DICOM", "DEMO", supporting=(file,))
        fetch_supporting(collection, tree, client, SiteApi(client, site.url))
    path = tree.root / "supporting" / "table.csv"
    if how == "changed":
        path.write_bytes(b"x")
    elif how == "deleted":
        path.unlink()
    result = verify(tmp_path)
    found = [(one.file, one.reason) for one in result.damage]
    reasons = {"intact": [], "changed": [Reason.CHANGED], "deleted": [Reason.MISSING]}
    assert all(one.option == "--supporting" for one in result.damage)
    beside = status(tmp_path).collections[0].supporting
    assert (beside.files, beside.size) == (1, 4)
    assert beside.missing == (["table.csv"] if how == "deleted" else [])
    assert found == [("DEMO/supporting/table.csv", reason) for reason in reasons[how]]
