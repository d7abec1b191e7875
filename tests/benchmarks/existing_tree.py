"""The benchmarks of an existing tree: (e) nothing to do, (f) plan, (h) verify."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tcia_covid.archives.nbia.archive import series_of
from tcia_covid.catalog import series_catalog
from tcia_covid.core.models import Receipt, StoredImage
from tcia_covid.store.disk import Disk
from tcia_covid.store.receipts import StoredReceipt
from tcia_covid.store.tree import Tree
from tests.benchmarks.bench import CORES, Bench, best, in_turns, middle, ratios
from tests.benchmarks.inputs import CT, MANY, Input
from tests.benchmarks.results import Row, Target, at_least, below
from tests.benchmarks.runs import PROGRAM, download, plan, run, serving, statistics


def nothing_to_do(bench: Bench) -> Iterator[Row]:
    """(e) A run over 20,000 series that are all complete."""
    made = bench.input(MANY)
    output = _complete_tree(made, bench.cache)
    with serving(made) as url:
        download(made, url, output)  # brings the reports up to date
    costs = []
    for _ in bench.times():
        with serving(made) as url:
            costs.append(download(made, url, output))
            asked = statistics(url)["asked"]
    opened = _opened(made, output, bench.folder())
    cost, limit = best(costs), _look_at_all(Tree(output / made.recipe.collection))
    assert cost.document["series"]["already_complete"] == made.recipe.series
    targets = (
        below(cost.wall, 5, "s"),
        Target("no image opened", not opened),
        Target("one list request", asked == {"getSeries": 1}),
    )
    limits = {"read receipts, list folders": limit}
    what = f"nothing to do, {made.recipe.series:,} series"
    yield Row("e", what, cost, 0, limits, limit / cost.wall, targets, {"asked": asked})


def planning(bench: Bench) -> Iterator[Row]:
    """(f) A plan of the catalog's 20,001 series; and one next to a complete tree."""
    names = [entry.collection for entry in series_catalog.info().entries]
    output = bench.folder()
    command = [*PROGRAM, "plan", *names, "-o", str(output), "--json"]
    cost = best([run(command) for _ in bench.times()])
    series = cost.document["series"]["selected"]
    yield Row("f", f"plan of {series:,} series, offline", cost, targets=(below(cost.wall, 1, "s"),))
    made = bench.input(MANY)
    tree = _complete_tree(made, bench.cache)
    with serving(made) as url:
        cost = best([plan(made, url, tree) for _ in bench.times()])
    yield Row("f", f"plan next to {made.recipe.series:,} complete series", cost)


def verifying(bench: Bench) -> Iterator[Row]:
    """(h) A check of a gigabyte, next to md5sum with as many processes."""
    made, output = bench.input(CT), bench.folder()
    with serving(made) as url:
        download(made, url, output, "--no-fsync")
    os.sync()  # else the system writes it to the disk on the same cores meanwhile
    command = [*PROGRAM, "verify", str(output), "--jobs", str(CORES), "--json"]
    pairs = in_turns(bench, lambda: run(command), lambda: _md5sum(output))
    pair = middle(pairs)
    targets = (at_least(pair.ratio, 0.9, "of md5sum"),)
    limits = {f"md5sum, {CORES} processes": pair.limit}
    remarks = {"all ratios": ratios(pairs)}
    yield Row("h", "verify", pair.cost, made.size, limits, pair.ratio, targets, remarks)


def _complete_tree(made: Input, cache: Path) -> Path:
    """A tree that is complete by its receipts and names; its images are empty."""
    output = cache / f"{made.folder.name}-tree"
    if (output / "done").exists():
        return output
    shutil.rmtree(output, ignore_errors=True)
    tree = Tree(output / made.recipe.collection, disk=Disk(durable=False))
    tree.prepare()
    for row in json.loads((made.folder / "list.json").read_bytes()):
        series = series_of(row)
        assert series is not None
        assert series.size is not None
        folder = f"{series.patient}/{series.study}/{series.uid}"
        image = StoredImage(f"{series.uid}.1", series.size, "0" * 32)
        (tree.root / folder).mkdir(parents=True)
        (tree.root / folder / image.file).touch()
        receipt = Receipt(series, folder, (image,), "2026-01-01T00:00:00Z", "benchmark")
        tree.receipts.write(StoredReceipt(receipt, ""))
    (output / "done").touch()
    return output


def _opened(made: Input, output: Path, folder: Path) -> list[str]:
    """The images that such a run opens."""
    log = folder / "opened"
    with serving(made) as url:
        download(made, url, output, BENCHMARK_OPENED=str(log))
    lines = log.read_text().splitlines()
    assert any("receipt" in line or line.endswith(".json") for line in lines), "nothing was noted"
    return [line for line in lines if line.endswith(".dcm")]


def _look_at_all(tree: Tree) -> float:
    """Seconds to read all receipts and to list all folders, in one plain loop."""
    began = time.monotonic()
    for entry in os.scandir(tree.receipts.folder):
        receipt = json.loads(Path(entry.path).read_bytes())
        list(os.scandir(f"{tree.root}/{receipt['folder']}"))
    return time.monotonic() - began


def _md5sum(output: Path) -> float:
    files = "\0".join(str(path) for path in sorted(output.rglob("*.dcm")))
    began = time.monotonic()
    subprocess.run(
        ["xargs", "-0", "-P", str(CORES), "-n", "60", "md5sum"],
        input=files.encode(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - began
