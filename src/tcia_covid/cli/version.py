"""Which program this is, and what it stands on."""

from __future__ import annotations

from typing import Any

from tcia_covid import __version__
from tcia_covid.cli.console import Console


def show_version(console: Console) -> None:
    """Show the version; with --verbose, all that a report of a fault should name."""
    parts = _parts() if console.json or console.verbose else {}
    console.document({"command": "version", "exit_code": 0, "version": __version__, **parts})
    console.result(f"tcia-covid {__version__}")
    if console.verbose:
        from tcia_covid.cli.tables import facts  # noqa: PLC0415 - for details alone

        console.result(facts((name.replace("_", " "), value) for name, value in parts.items()))


def _parts() -> dict[str, Any]:
    import platform  # noqa: PLC0415 - all of this is for details alone

    from tcia_covid import catalogue  # noqa: PLC0415
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
    from importlib import metadata  # noqa: PLC0415

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
