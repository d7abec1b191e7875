"""Found by every Python whose PYTHONPATH has this folder: changes and watches benchmarked runs."""

import os
import sys

if _absent := os.environ.get("BENCHMARK_WITHOUT"):
    sys.modules[_absent] = None  # type: ignore[assignment]

if _log := os.environ.get("BENCHMARK_OPENED"):
    _file = os.open(_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def _note(event: str, arguments: tuple[object, ...]) -> None:
        """Write down every file that is opened."""
        if event == "open":
            os.write(_file, f"{arguments[0]}\n".encode(errors="replace"))

    sys.addaudithook(_note)

if _catalog := os.environ.get("BENCHMARK_CATALOG"):
    import pkgutil
    from pathlib import Path

    _get_data = pkgutil.get_data

    def _get_benchmark_data(package: str, name: str) -> bytes | None:
        """Read the catalog of a benchmark's collection instead of the shipped one."""
        path = Path(str(_catalog), name)
        if package == "tcia_covid.catalog" and path.exists():
            return path.read_bytes()
        return _get_data(package, name)

    pkgutil.get_data = _get_benchmark_data
