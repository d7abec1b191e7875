"""What several processes cost and gain: benchmark (i) with 1, 2, 4 … of them.

`python -m tests.benchmarks.processes 1 2 4 --latency 0.05` prints one line per number. On a machine
of few cores that other work and the server use, wall times say little; what a process computes does
not depend on that. `cores` is what the run would take with a core for each process: its serial
parts, and the CPU of the process that computes most. `events` is what the parent's threads need to
take the events of all workers, a part of its own CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.benchmarks.inputs import Input
from tests.benchmarks.objects import CT_OBJECTS, prepare_objects
from tests.benchmarks.runs import REPOSITORY, serving

_INTERVAL = 0.02
"""Seconds between two looks at the CPU of the workers."""
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, or be one of the runs that are measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("processes", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--scale", type=float, default=1.0, help="part of the series")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds to first byte")
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3, help="the least CPU of so many counts")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    choices = parser.parse_args()
    if choices.one:
        _download(*choices.one, choices.processes[0], choices.jobs)
        return
    cache = Path(tempfile.gettempdir(), "tcia-covid-benchmarks")
    made = prepare_objects(CT_OBJECTS.scaled(choices.scale), cache)
    best: dict[int, dict[str, float]] = {}
    for _ in range(choices.repeat):
        for count in choices.processes:
            run = _measured(made, count, choices.jobs, choices.latency)
            best[count] = min(best.get(count, run), run, key=lambda each: each["cpu"])
    print("processes  wall    CPU  busiest  serial  events  cores  gain")
    for count, run in best.items():
        gain = next(iter(best.values()))["cores"] / run["cores"]
        print(
            f"{count:9} {run['wall']:5.2f} {run['cpu']:6.2f} {run['busiest']:8.2f}"
            f" {run['serial']:7.2f} {run['events']:7.3f} {run['cores']:6.2f} {gain:5.2f}"
        )


def _measured(made: Input, processes: int, jobs: int, latency: float) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory() as output,
        serving(made, latency=latency, server="s3_server") as url,
    ):
        command = [sys.executable, "-m", __spec__.name, str(processes), "--jobs", str(jobs)]
        environment = {**os.environ, "BENCHMARK_CATALOG": str(made.folder)}
        hooks = str(Path(__file__).parent / "hooks")
        environment["PYTHONPATH"] = hooks
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        ended = subprocess.run(
            [*command, "--one", str(made.folder), url, output],
            env=environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    figures: dict[str, float] = json.loads(ended.stdout)
    return figures


def _download(folder: str, url: str, output: str, processes: int, jobs: int) -> None:
    """Download in this process and its workers; print what each part took."""
    # Here, so that their import counts only where it is measured.
    from tcia_covid.api.options import request_from  # noqa: PLC0415
    from tcia_covid.core.events import RunStarted  # noqa: PLC0415
    from tcia_covid.operations.download import download_request  # noqa: PLC0415
    from tcia_covid.transfer.worker_processes import forked_workers  # noqa: PLC0415

    parallel: list[float] = []
    """Own CPU when the first series starts, and after the last one ended."""

    def on_event(event: object) -> None:
        is_end = getattr(event, "text", "").startswith("counting complete series")
        if is_end or isinstance(event, RunStarted):
            parallel.append(time.process_time())

    workers: dict[str, float] = {}
    attending: dict[str, float] = {}
    began = time.monotonic()
    request = request_from(
        CT_OBJECTS.collection,
        output,
        source="idc",
        idc_url=url,
        registry=str(Path(folder, "registry.yaml")),
        processes=processes,
        jobs=jobs,
    )
    with forked_workers(processes - 1) as start_worker:
        threading.Thread(target=_watch, args=(workers, attending), daemon=True).start()
        summary = download_request(request, emit=on_event, start_worker=start_worker)
    assert summary.exit_code == 0
    wall = time.monotonic() - began
    own = time.process_time()
    in_parallel = parallel[1] - parallel[0]
    serial = own - in_parallel
    busiest = max([in_parallel, *workers.values()])
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    figures = {
        "wall": wall,
        "cpu": cpu,
        "busiest": busiest,
        "serial": serial,
        "events": sum(attending.values()),
        "cores": serial + busiest,
    }
    print(json.dumps(figures))


def _watch(workers: dict[str, float], attending: dict[str, float]) -> None:
    """Note the CPU seconds of all workers, and of the threads that take their events."""
    while True:
        for tasks in Path("/proc/self/task").glob("*/children"):
            for child in _read(tasks).split():
                fields = _read(Path("/proc", child, "stat")).rpartition(")")[2].split()
                if fields:
                    workers[child] = (int(fields[11]) + int(fields[12])) / _TICKS
        for thread in threading.enumerate():
            if thread.name.startswith("process-"):
                fields = _read(Path(f"/proc/self/task/{thread.native_id}/schedstat")).split()
                if fields:
                    attending[thread.name] = int(fields[0]) / 1e9
        time.sleep(_INTERVAL)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:  # it has ended
        return ""


if __name__ == "__main__":
    main()
