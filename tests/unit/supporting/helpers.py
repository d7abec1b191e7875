"""Supporting files on a local site, and what is downloaded of them."""

from __future__ import annotations

import io
import json
import zipfile

from tcia_covid.archives.portal import PortalApi
from tcia_covid.catalog.collections import Collection, SupportingFile
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.events import Event
from tcia_covid.core.summary import SupportingFiles
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.download import fetch_supporting
from tcia_covid.supporting.receipts import FileReceipt, FileReceipts
from tests.fakes.portal import FakePortal
from tests.unit.http.helpers import client_with

SLUG = "demo-collection"
CSV = b"patient,age\n" + b"P-1,70\n" * 5000
JSON = json.dumps({"labels": list(range(3000))}).encode()


def xlsx(size: int = 20_000) -> bytes:
    """Bytes with the signature of a spreadsheet."""
    return b"PK\x03\x04" + bytes(range(256)) * (size // 256)


def zipped(files: dict[str, bytes], **attributes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            for key, value in attributes.items():
                setattr(entry, key, value)
            archive.writestr(entry, content)
    return buffer.getvalue()


def collection_of(*files: SupportingFile) -> Collection:
    return Collection("DEMO", "DICOM", "DEMO", slug=SLUG, supporting=files)


def entry(site: FakePortal, name: str, **fields: object) -> SupportingFile:
    return SupportingFile(f"Title of {name}", "clinical", name, site.address(name), **fields)  # type: ignore[arg-type]


def fetch(
    site: FakePortal,
    tree: Tree,
    *files: SupportingFile,
    events: list[Event] | None = None,
    stop: CancelToken | None = None,
    settings: dict[str, object] | None = None,
    **flags: bool,
) -> SupportingFiles:
    with client_with(stop=stop, events=events, **(settings or {})) as client:
        api = PortalApi(client, site.url)
        return fetch_supporting(collection_of(*files), tree, client, api, **flags)


def unchanged(result: SupportingFiles) -> list[str]:
    """The files that were in place before."""
    return [file.file for file in result.files if not file.fetched]


def receipts(tree: Tree) -> dict[str, FileReceipt]:
    return {receipt.file: receipt for receipt in FileReceipts(tree).all()}


def files_in_place(tree: Tree) -> dict[str, bytes]:
    folder = tree.root / "supporting"
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
