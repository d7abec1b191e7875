"""Prints the structure of the package: packages, files, lines, imports.

    python scripts/structure.py            a summary; exit code 1 where a rule is broken
    python scripts/structure.py --files    every file with its lines

The rules are those of docs/design.md: imports only point down the list of packages, no import
cycles, no module next to `__init__.py` and `__main__.py`, no tiny file, few imports inside
functions. `tests/unit/test_architecture.py` checks the same.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "src" / "tcia_covid"
PACKAGES = (
    "cli",
    "api",
    "output",
    "demo",
    "operations",
    "supporting",
    "nifti",
    "transfer",
    "archives",
    "selection",
    "store",
    "http",
    "formats",
    "catalog",
    "core",
)
"""From top to bottom: a package imports those below it."""
SMALLEST = 40
"""Lines of the smallest file, but for a package's `__init__.py` and these:"""
SMALL = {"core.version", "__main__", "cli.commands.cite", "cli.commands.completion"}


@dataclass
class Module:
    """One file: its lines and the modules of the package that it imports."""

    name: str
    path: Path
    lines: int
    imports: set[str] = field(default_factory=set)
    lazy: list[str] = field(default_factory=list)

    @property
    def package(self) -> str:
        """The package at the top level, or empty."""
        return self.name.partition(".")[0]


def read(root: Path = ROOT) -> dict[str, Module]:
    """All modules of the package, by their names in it; a package's face has the package's name."""
    files = {_name(path, root): path for path in sorted(root.rglob("*.py"))}
    modules = {}
    for name, path in files.items():
        source = path.read_text(encoding="utf-8")
        module = modules[name] = Module(name, path, len(source.splitlines()))
        tree = ast.parse(source)
        for node in ast.walk(tree):
            module.imports |= {*_imported(node, files)} - {name}
        module.lazy += [ast.unparse(node) for node in _in_functions(tree)]
    return modules


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(node: ast.AST, files: dict[str, Path]) -> Iterator[str]:
    names: list[str] = []
    if isinstance(node, ast.ImportFrom) and node.module:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    for name in names:
        top, _, inner = name.partition(".")
        while top == "tcia_covid" and inner:
            if inner in files:
                yield inner
                break
            inner = inner.rpartition(".")[0]


def _in_functions(tree: ast.Module) -> Iterator[ast.stmt]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield node


def upward(modules: dict[str, Module]) -> list[str]:
    """Imports that point up the list of packages."""
    return [
        f"{module.name} imports {other}"
        for module in modules.values()
        for other in sorted(module.imports)
        if module.package in PACKAGES
        and PACKAGES.index(modules[other].package) < PACKAGES.index(module.package)
    ]


def cycles(modules: dict[str, Module]) -> list[str]:
    """Import cycles, imports for type checkers included."""
    graph = {name: set(module.imports) for name, module in modules.items()}
    broken = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            cycle = error.args[1]
            broken.append(" <- ".join(cycle))
            graph[cycle[1]].discard(cycle[0])
        else:
            return broken


def misplaced(modules: dict[str, Module]) -> list[str]:
    """Modules next to `__init__.py` and `__main__.py`, and packages that are not in the list."""
    known = {"", "__main__", *PACKAGES}
    return [
        name
        for name, module in modules.items()
        if name.partition(".")[0] not in known
        or (name in PACKAGES and module.path.stem != "__init__")
    ]


def tiny(modules: dict[str, Module]) -> list[str]:
    """Files that are too small to be one."""
    return [
        f"{module.name}: {module.lines} lines"
        for module in modules.values()
        if module.lines < SMALLEST and module.path.stem != "__init__" and module.name not in SMALL
    ]


def main(arguments: list[str]) -> int:
    """Print the structure; give the exit code."""
    modules = read()
    for package in PACKAGES:
        own = [module for module in modules.values() if module.package == package]
        print(f"{package:12} {len(own):4} files {sum(item.lines for item in own):7,} lines")
        if "--files" in arguments:
            for module in own:
                print(f"    {module.name:40} {module.lines:5}")
    total = sum(module.lines for module in modules.values())
    print(f"{'all':12} {len(modules):4} files {total:7,} lines")
    broken = 0
    for title, problems in (
        ("upward imports", upward(modules)),
        ("import cycles", cycles(modules)),
        ("misplaced modules", misplaced(modules)),
        ("tiny files", tiny(modules)),
    ):
        print(f"{title}: {len(problems)}")
        for problem in problems:
            print(f"    {problem}")
        broken += len(problems)
    lazy = [(module.name, text) for module in modules.values() for text in module.lazy]
    print(f"imports inside functions: {len(lazy)}")
    for name, text in lazy:
        print(f"    {name}: {text}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
