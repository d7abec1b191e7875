"""`metadata.csv` above the folders of all collections, where NBIA Data Retriever has its only one.

Runs with the retriever's layouts write it, from the `metadata.csv` of each collection; every run
that writes these later keeps it up to date. A file that existed before is not this
program's, and stays.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcia_covid.core.csv_rows import csv_lines
from tcia_covid.core.files import is_foreign_link, open_regular
from tcia_covid.core.safe_names import STATE_FOLDER
from tcia_covid.formats.hashes import hash_file
from tcia_covid.store.disk import UNUSABLE_JSON, read_json
from tcia_covid.store.layout import RETRIEVER, RETRIEVER_CLASSIC
from tcia_covid.store.quarantine import move_aside
from tcia_covid.store.report_files import metadata_columns
from tcia_covid.store.tree import Tree

COMBINED = "../metadata.csv"
"""Its path relative to a collection's folder."""
_NAME = "metadata.csv"
_RECORD = "combined.json"
"""In the state folder of the collection whose run wrote it last: its hash, and its inputs."""
_LOCATION = "File Location"


@dataclass(frozen=True, slots=True)
class CombinedMetadata:
    """The file of one output folder."""

    tree: Tree
    """The collection of this run."""

    @property
    def path(self) -> Path:
        """The file."""
        return self.tree.root.parent / _NAME

    def is_outdated(self) -> bool:
        """Whether this program wrote the file, and it does not cover what the collections have."""
        records = self._records()
        try:
            size = self.path.stat().st_size
        except OSError:
            return bool(records)
        inputs = self._inputs()
        current = any((each["size"], each["inputs"]) == (size, inputs) for each in records)
        return bool(records) and not current

    def update(self, notify: Callable[[str], None]) -> None:
        """Write the file if it is out of date, or requested and missing.

        The folder above may be another file system, or read-only: that is reported.
        """
        records = self._records()
        is_wanted = self.tree.layout in (RETRIEVER, RETRIEVER_CLASSIC)
        exists = os.path.lexists(self.path)
        if not records and exists and is_wanted:
            notify(f"{self.path} is not this program's, and stays: it lists no new series")
        elif self.is_outdated() or (is_wanted and not exists):
            try:
                self._write(dict(self._readable(notify)), notify)
            except OSError as error:
                notify(f"{self.path} cannot be written: {error.strerror or error}")
            except csv.Error as error:  # a field that is longer than readers of CSV accept
                notify(f"{self.path} cannot be written: {error}")

    def _readable(self, notify: Callable[[str], None]) -> Iterator[tuple[str, str]]:
        """The inputs that are unchanged since this program wrote them; notices name the others."""
        for folder, md5 in self._inputs().items():
            path = self.tree.root.parent / folder / _NAME
            if hash_file(path, "md5")[1] == md5:
                yield folder, md5
            else:
                notify(
                    f"{path} was changed: {self.path} has none of its series until the next "
                    "download into that folder"
                )

    def _write(self, inputs: Mapping[str, str], notify: Callable[[str], None]) -> None:
        content = b"".join(self._content(inputs))
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        present = hash_file(self.path, "md5")[1] if self.path.is_file() else ""
        # Read after the file: runs of other collections record it before they write it.
        is_own = any(present in each["written"] for each in self._records())
        if os.path.lexists(self.path) and not is_own:
            notify(move_aside(self.tree.disk, self.path))
        # The version before is recorded, too: a run that is killed here leaves it.
        written = [md5, present] if is_own else [md5]
        record = {"size": len(content), "inputs": inputs, "written": written}
        self.tree.write_file(self.tree.state / _RECORD, json.dumps(record).encode())
        self.tree.write_file(self.path, content)

    def _content(self, inputs: Mapping[str, str]) -> Iterator[bytes]:
        """The rows of all collections, with the columns that all have."""
        columns = metadata_columns("")
        rows = [list(columns)]
        for folder in inputs:
            path = self.tree.root.parent / folder / _NAME
            with open(path, encoding="utf-8", newline="", opener=open_regular) as file:
                for row in csv.DictReader(file):
                    location = (row.get(_LOCATION) or "").removeprefix("./")
                    row[_LOCATION] = f"./{folder}/{location}"
                    rows.append([row.get(column) or "" for column in columns])
        return csv_lines(rows)

    def _inputs(self) -> dict[str, str]:
        """The MD5 of each collection's metadata.csv, by folder, as its reports were written."""
        inputs = {}
        for state in self._states():
            try:
                stamp = read_json(state / "reports.json")
                if (state.parent / _NAME).is_file():
                    inputs[state.parent.name] = str(stamp[_NAME]["md5"])
            except UNUSABLE_JSON:
                continue
        return inputs

    def _records(self) -> list[dict[str, Any]]:
        records = []
        for state in self._states():
            try:
                record = read_json(state / _RECORD)
                if isinstance(record["written"], list) and {"size", "inputs"} <= record.keys():
                    records.append(record)
            except UNUSABLE_JSON:
                continue
        return records

    def _states(self) -> list[Path]:
        states = sorted(self.tree.root.parent.glob(f"*/{STATE_FOLDER}"))
        return [each for each in states if not (each.is_symlink() or is_foreign_link(each.parent))]
