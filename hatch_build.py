"""Adds the manual pages to a wheel."""

from __future__ import annotations

import runpy
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPages(BuildHookInterface[Any]):
    """Writes the pages when the wheel is built, so that they are those of its commands."""

    _folder = ""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate the pages; hatchling puts them into the wheel's data."""
        if version == "editable":
            return
        script = runpy.run_path(str(Path(self.root) / "scripts" / "man_pages.py"))
        self._folder = tempfile.mkdtemp()
        for file in script["write"](Path(self._folder)):
            build_data["shared_data"][str(file)] = f"share/man/man1/{file.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what `initialize` wrote."""
        if self._folder:
            shutil.rmtree(self._folder)
