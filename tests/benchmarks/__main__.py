"""`python -m tests.benchmarks [NAME...]`: measure, print a table, end with 1 if a target is missed.

Inputs are kept in a cache folder; the first run makes them (a minute, 6 GB). Trees are written to
a folder of their own, and removed only at the end, or where the disk gets full: files are made more
slowly where others were removed a moment ago. Targets are judged at scale 1. Run it on a machine
that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.benchmarks.bench import Bench
from tests.benchmarks.downloads import ct_series, large_series, radiographs, tiny_series
from tests.benchmarks.existing_tree import nothing_to_do, planning, verifying
from tests.benchmarks.idc import ct_objects, radiograph_objects, tiny_objects
from tests.benchmarks.results import Row, document, machine, table
from tests.benchmarks.resume import resuming

CASES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "a": ct_series,
    "b": radiographs,
    "c": tiny_series,
    "d": large_series,
    "e": nothing_to_do,
    "f": planning,
    "g": resuming,
    "h": verifying,
    "i": ct_objects,
    "k": radiograph_objects,
    "l": tiny_objects,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks named; give the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(CASES):
        parser.error(f"there is no benchmark {unknown.pop()!r}")
    bench = Bench(
        options.cache,
        options.output or options.cache / "trees",
        options.scale,
        options.repeat,
        discard=options.discard,
    )
    print(", ".join(f"{name} {value}" for name, value in machine().items()), file=sys.stderr)
    rows: list[Row] = []
    judged = options.scale >= 1
    try:
        for name in options.names or CASES:
            bench.make_room()
            for row in CASES[name](bench):
                rows.append(row)
                print(table([row], judged=judged).partition("\n")[2], file=sys.stderr, flush=True)
    finally:
        bench.clean()
    print(table(rows, judged=judged))
    if options.json:
        written = document(rows, scale=options.scale, repeat=options.repeat)
        options.json.write_text(json.dumps(written, indent=1) + "\n")
    return int(judged and not all(row.kept for row in rows))


def _parser() -> argparse.ArgumentParser:
    cases = "\n".join(f"  {name}  {case.__doc__}" for name, case in CASES.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=(__doc__ or "").partition("\n")[2],
        epilog=f"names:\n{cases}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Path(tempfile.gettempdir(), "tcia-covid-benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; by default all")
    parser.add_argument("--scale", type=float, default=1.0, help="part of everything, such as 0.1")
    parser.add_argument("--repeat", type=int, default=3, help="measure so often")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--cache", type=Path, default=default, help="where inputs are kept")
    parser.add_argument("--output", type=Path, help="where trees are written")
    parser.add_argument("--discard", action="store_true", help="remove trees at once (tmpfs)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
