"""The benchmarks of downloads: CT series, radiographs, tiny series, and a big pair."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.bench import (
    CORES,
    Bench,
    best,
    disk_limit,
    engines,
    in_turns,
    middle,
    ratios,
    socket_limit,
)
from tests.benchmarks.inputs import CT, LARGE, RADIOGRAPHS, TINY, Input, Recipe
from tests.benchmarks.results import Row, Target, at_least, below
from tests.benchmarks.runs import Cost, download, serving, statistics

_JOBS = 8
_MEMORY = 120


def ct_series(bench: Bench) -> Iterator[Row]:
    """(a) A gigabyte of CT series at 1, 2, 4 and 8 jobs."""
    made = bench.input(CT)
    for engine, without in engines().items():
        for jobs in (1, 2, 4, 8):
            yield _next_to_the_disk(bench, made, jobs, engine, without)
        yield _over_tls(bench, made, engine, without)


def _next_to_the_disk(bench: Bench, made: Input, jobs: int, engine: str, without: str) -> Row:
    bench.make_room()
    threads = min(jobs, CORES)
    pairs = in_turns(
        bench,
        lambda: _fetch(bench, made, jobs, without),
        lambda: disk_limit(bench, made, threads, without),
    )
    with serving(made) as url:
        received = min(socket_limit(url, made, jobs) for _ in bench.times())
    pair = middle(pairs)
    name = f"inflate+MD5+write, {threads} thread{'s' * (threads > 1)}"
    return Row(
        "a",
        f"CT series, {jobs} job{'s' * (jobs > 1)}, {engine}",
        pair.cost,
        made.size,
        {name: pair.limit, "socket": received},
        pair.ratio,
        (at_least(pair.ratio, 0.85, "of the limit"),) if jobs > 1 else (),
        {"all walls": [each.cost.wall for each in pairs], "all ratios": ratios(pairs)},
    )


def _over_tls(bench: Bench, made: Input, engine: str, without: str) -> Row:
    """As archives are asked; no target, for the server encrypts on the same cores."""
    bench.make_room()
    authority = bench.folder() / "authority.pem"
    costs = []
    for _ in bench.times():
        with serving(made, authority=authority) as url:
            trusting = {"REQUESTS_CA_BUNDLE": str(authority), "BENCHMARK_WITHOUT": without}
            folder = bench.folder()
            costs.append(download(made, url, folder, "--jobs", str(_JOBS), **trusting))
            bench.done_with(folder)
    what = f"CT series over TLS, {_JOBS} jobs, {engine}"
    return Row("a", what, best(costs), made.size, {}, None, ())


def radiographs(bench: Bench) -> Iterator[Row]:
    """(b) Radiographs from an archive that is slow to begin, over slow connections."""
    yield _bounded(bench, "b", "radiographs, 300 ms, 4 MB/s each", RADIOGRAPHS, 0.3, 4e6)


def tiny_series(bench: Bench) -> Iterator[Row]:
    """(c) Tiny series: nothing but waiting and what a series costs at least."""
    yield _bounded(bench, "c", "tiny series, 50 ms", TINY, 0.05, None)


def large_series(bench: Bench) -> Iterator[Row]:
    """(d) One series of 2,464 images, next to the series of (a) on one core."""
    made, ordinary = bench.input(LARGE), bench.input(CT)
    for engine, without in engines().items():
        pairs = [_large_and_ordinary(bench, made, ordinary, without) for _ in bench.times()]
        share, cost, other = sorted(pairs, key=lambda pair: pair[0])[len(pairs) // 2]
        limit = min(disk_limit(bench, made, 1, without) for _ in bench.times())
        targets = (
            at_least(share, 0.9, "of (a) at 1 job"),
            below(cost.memory / 1e6, _MEMORY, "MB"),
        )
        yield Row(
            "d",
            f"one series of {made.images:,} images, {engine}",
            cost,
            made.size,
            {"inflate+MD5+write, 1 thread": limit},
            limit / cost.wall,
            targets,
            {"all shares": [round(pair[0], 3) for pair in pairs], "(a) at 1 job": other.wall},
        )


def _large_and_ordinary(
    bench: Bench, large: Input, ordinary: Input, without: str
) -> tuple[float, Cost, Cost]:
    """What share of the ordinary series' rate the large one has, one just after the other."""
    cost = _fetch(bench, large, _JOBS, without)
    other = _fetch(bench, ordinary, 1, without)
    return large.size / cost.wall / (ordinary.size / other.wall), cost, other


def _fetch(bench: Bench, made: Input, jobs: int, without: str) -> Cost:
    with serving(made) as url:
        return _fetched(bench, made, url, jobs, without)


def _fetched(bench: Bench, made: Input, url: str, jobs: int = _JOBS, without: str = "") -> Cost:
    folder = bench.folder()
    cost = download(made, url, folder, "--jobs", str(jobs), BENCHMARK_WITHOUT=without)
    bench.done_with(folder)
    return cost


def _bounded(
    bench: Bench, case: str, what: str, recipe: Recipe, latency: float, rate: float | None
) -> Row:
    """A download that waiting and the line bound."""
    made = bench.input(recipe)
    costs, asked = [], 0
    for _ in bench.times():
        with serving(made, latency=latency, rate=rate) as url:
            costs.append(_fetched(bench, made, url))
            asked = sum(statistics(url)["asked"].values())
    waiting = latency * asked / _JOBS
    line = made.sent / rate / _JOBS if rate else 0.0
    cost = best(costs)
    ratio = (waiting + line) / cost.wall
    target: Target = at_least(ratio, 0.9, "of the bound")
    names = "latency x requests / jobs" + (", and bytes / rate" if rate else "")
    title = f"{recipe.scaled(bench.scale).series:,} {what}"
    remarks = {"requests": asked, "all walls": [item.wall for item in costs]}
    limits = {names: waiting + line}
    return Row(case, title, cost, made.size, limits, ratio, (target,), remarks)
