"""Memory is bounded by the number of workers, not by the size of series."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.command import QUICK, start
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_servers import PrebuiltZips
from tests.fakes.synthetic import synthetic_corpus

BOUND = 120e6


def _peak(process: subprocess.Popen[str]) -> int:
    """The most bytes of memory that the process ever had, read until it ends."""
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        except OSError:
            break
        for line in status.splitlines():
            if line.startswith("VmHWM"):
                peak = max(peak, int(line.split()[1]) * 1024)
        time.sleep(0.02)
    return peak


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_eight_jobs_of_large_series_stay_below_120_mb(tmp_path: Path) -> None:
    corpus = synthetic_corpus(
        "BIG", patients=8, series_per_patient=1, images_per_series=40, rows=512, columns=512
    )
    with ArchiveServer(corpus, interceptor=PrebuiltZips(), compression=1) as server:
        arguments = ["--nbia-url", server.base_url, "--source", "nbia", *QUICK, "-j", "8"]
        process = start("download", "BIG", "-o", tmp_path / "d", *arguments, home=tmp_path)
        peak = _peak(process)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert 10e6 < peak < BOUND
