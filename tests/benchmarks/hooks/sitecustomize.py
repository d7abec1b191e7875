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
