"""`--version`."""

from __future__ import annotations

import platform
from typing import Any

from tcia_covid.catalog import series_catalog
from tcia_covid.cli.console import Console
from tcia_covid.core.version import __version__
from tcia_covid.formats.inflate import DEFAULT
from tcia_covid.output.tables import key_values


def show_version(console: Console) -> None:
    """Show the version; with --verbose, everything that a bug report should name."""
    details = _details() if console.json or console.verbose else {}
    console.document({"command": "version", "exit_code": 0, "version": __version__, **details})
    console.result(f"tcia-covid {__version__}")
    if console.verbose:
        console.result(key_values(details.items()))


def _details() -> dict[str, Any]:
    info = series_catalog.info()
    names = ("requests", "urllib3", "click", "pydicom", "tqdm", "pyyaml")
    return {
        "catalog": f"idc-index-data {info.version}, IDC {info.idc_version}, built {info.built}",
        "inflate": DEFAULT.name,
        "python": f"{platform.python_version()} on {platform.platform()}",
        **{name: _installed(name) for name in names},
    }


def _installed(name: str) -> str:
    from importlib import metadata  # noqa: PLC0415 - slow, and only --verbose needs it

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
