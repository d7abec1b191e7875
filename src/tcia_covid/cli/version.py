"""Which program this is, and what it stands on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tcia_covid import __version__
from tcia_covid.cli.console import Console
from tcia_covid.cli.tables import facts


def show_version(console: Console) -> None:
    """Show the version; with --verbose, all that a report of a fault should name."""
    console.document({"command": "version", "exit_code": 0, "version": __version__, **_parts()})
    console.result(f"tcia-covid {__version__}")
    if console.verbose:
        console.result(facts((name.replace("_", " "), value) for name, value in _parts().items()))


def _parts() -> dict[str, Any]:
    from tcia_covid import catalogue  # noqa: PLC0415 - only --version needs both
    from tcia_covid.inflate import ENGINE  # noqa: PLC0415

    info = catalogue.info()
    names = ("requests", "urllib3", "click", "pydicom", "tqdm", "pyyaml")
    return {
        "catalogue": f"idc-index-data {info.version}, IDC {info.idc_version}, built {info.built}",
        "inflate": ENGINE,
        "python": f"{platform.python_version()} on {platform.platform()}",
        **{name: _installed(name) for name in names},
    }


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
