"""Files of the same form as the clinical tables and annotations that TCIA offers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from tcia_covid.store.tree import Tree
from tcia_covid.supporting.receipts import FileCheck, FileReceipt, FileReceipts

Sheets = Mapping[str, Sequence[Sequence[Any]]]
ANNOTATIONS: dict[str, Any] = {
    "labelGroups": [
        {
            "id": "G_1",
            "name": "Reader A",
            "labels": [
                {"id": "L_1", "name": "Typical Appearance", "scope": "EXAM"},
                {"id": "L_2", "name": "Opacity", "scope": "INSTANCE"},
            ],
        },
        {
            "id": "G_2",
            "name": "Reader B",
            "labels": [{"id": "L_3", "name": "Typical Appearance", "scope": "EXAM"}],
        },
    ],
    "datasets": [
        {
            "id": "D_1",
            "name": "RICORD",
            "studies": [{"StudyInstanceUID": "1.2.1", "number": 1}],
            "annotations": [
                {"id": "A_1", "labelId": "L_1", "StudyInstanceUID": "1.2.1"},
                {"id": "A_2", "labelId": "L_3", "StudyInstanceUID": "1.2.1"},
                *(
                    {
                        "id": f"A_{number}",
                        "labelId": "L_2",
                        "StudyInstanceUID": "1.2.1",
                        "SeriesInstanceUID": "1.2.1.1",
                        "SOPInstanceUID": "1.2.1.1.1",
                        "data": {"vertices": [[1, 2], [3, 4]]},
                    }
                    for number in (3, 4)
                ),
                {
                    "id": "A_5",
                    "labelId": "L_2",
                    "StudyInstanceUID": "1.2.2",
                    "SeriesInstanceUID": None,
                    "SOPInstanceUID": None,
                },
            ],
        }
    ],
}
"""An export of MD.ai as RICORD has it: two readers, labels of studies, outlines in images."""


def workbook(sheets: Sheets) -> bytes:
    """An Excel workbook."""
    from openpyxl import Workbook  # noqa: PLC0415 - an extra

    book = Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def add_clinical(tree: Tree, name: str, sheets: Sheets) -> None:
    """Store a workbook as `--supporting` does."""
    add_supporting(tree, name, workbook(sheets), "clinical")


def add_supporting(tree: Tree, name: str, content: bytes, kind: str) -> None:
    """Store a file and its receipt as `--supporting` does."""
    receipts = FileReceipts(tree)
    receipts.files.mkdir(exist_ok=True)
    (receipts.files / name).write_bytes(content)
    receipts.write(
        FileReceipt(
            key=name,
            file=name,
            original=name,
            title="a stand-in",
            kind=kind,
            source="registry",
            url="https://example.org/",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            check=FileCheck.NONE,
            finished="2026-01-01T00:00:00Z",
            program="tcia-covid 0",
        )
    )
