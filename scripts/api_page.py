"""Generates docs/api.md from the code: every public name, its parameters, fields and docstring.

python scripts/api_page.py > docs/api.md
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, cast, get_args, get_type_hints

import tcia_covid
from tcia_covid.api import options

INTRO = """\
# Python

Generated from the code by `python scripts/api_page.py > docs/api.md`.

```python
import tcia_covid
```

Functions take plain values and return results; they print nothing, and raise only the errors
below. Names of collections, UIDs, files and addresses are targets, as on the command line
([targets.md](targets.md)). What describes a series has the names of DICOM ([json.md](json.md)).

`progress=True` shows a bar (tqdm; the extra `notebook` has its widgets), in IPython by default.
`emit=` takes a function that receives each event, from any thread; it must return quickly and raise
nothing.
`stop=` takes a `CancelToken`: its `set()`, from another thread, ends the work as Ctrl-C does.
Functions for tables need the extra `pandas`, `report` the extra `report`.
[example.ipynb](example.ipynb) is a notebook.
"""
FUNCTIONS = {
    "Find": ("iter_series", "info", "plan", "other_collections", "load_registry"),
    "Get": ("download", "adopt"),
    "Check": ("status", "verify", "doctor"),
    "Use": (
        "local_series",
        "files",
        "to_dataframe",
        "clinical",
        "labels",
        "report",
        "relayout",
        "cite",
    ),
}
ABOUT_KEYWORDS = """\
`Choices` also has the keywords of the three sections below it, `FilterChoices` and
`StorageChoices` those of `ConnectionChoices`. `Words` is a text or several, `Paths` a path or
several, `Bytes` a number or a text such as `20GB`, `Targets` a text, path, series, dict with
`SeriesInstanceUID`, table, or several.
"""
KEYWORDS = (
    options.Choices,
    options.FilterChoices,
    options.StorageChoices,
    options.ConnectionChoices,
)
_ENTRY = re.compile(r"^([\w, ]+): ")


def main() -> int:
    """Print the page."""
    print(INTRO)
    listed = {name for names in FUNCTIONS.values() for name in names}
    others = [name for name in tcia_covid.__all__ if name not in listed]
    functions = [name for name in others if inspect.isfunction(getattr(tcia_covid, name))]
    for title, names in {**FUNCTIONS, "More functions": functions}.items():
        print(f"## {title}\n" if names else "", end="\n" if names else "")
        for name in names:
            print_function(name)
    print(f"## Keywords\n\n{ABOUT_KEYWORDS}")
    for choices in KEYWORDS:
        print_class(choices)
    print_classes([name for name in others if inspect.isclass(getattr(tcia_covid, name))])
    return 0


def print_classes(names: Sequence[str]) -> None:
    """Print values, events and errors."""
    events = get_args(tcia_covid.Event)
    known = {"Choices", *(event.__name__ for event in events)}
    errors = [name for name in names if issubclass(getattr(tcia_covid, name), Exception)]
    print("## Values and results\n")
    for name in names:
        if name not in {*known, *errors}:
            print_class(getattr(tcia_covid, name))
    print("## Events\n\n`tcia_covid.Event` is the union of:\n")
    for event in events:
        print_class(event)
    print("## Errors\n")
    for name in errors:
        error = getattr(tcia_covid, name)
        print(f"- **`{name}`** ({error.__mro__[1].__name__}): {summary(error)}")
    print("\nAll have `message`, `hint` (what to do next) and `exit_code`, that of the command.")


def print_function(name: str) -> None:
    """Print a function: its signature, and its docstring as Markdown."""
    function = getattr(tcia_covid, name)
    node = cast("ast.FunctionDef", parsed(function))
    print(f"### {name}\n\n```python\n{signature(node)}\n```\n")
    print(markdown(inspect.getdoc(function) or ""))


def parsed(item: Any) -> ast.stmt:
    """The source of a function or class."""
    return ast.parse(textwrap.dedent(inspect.getsource(item))).body[0]


def signature(node: ast.FunctionDef) -> str:
    """A signature with one parameter per line; keywords that have a section are left out."""
    arguments = node.args
    first = len(arguments.args) - len(arguments.defaults)
    lines = [
        _parameter(argument, arguments.defaults[index - first] if index >= first else None)
        for index, argument in enumerate(arguments.args)
    ]
    lines += ["*"] if arguments.kwonlyargs else []
    names = {argument.arg for argument in arguments.kwonlyargs}
    shared = next((kind for kind in KEYWORDS if names >= get_type_hints(kind).keys()), None)
    left_out = get_type_hints(shared).keys() if shared else {}
    lines += [
        _parameter(argument, default)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if argument.arg not in left_out
    ]
    lines += [f"# and each of {shared.__name__} = None"] if shared else []
    body = "".join(f"    {line},\n" for line in lines)
    return f"{node.name}(\n{body}) -> {ast.unparse(node.returns) if node.returns else 'None'}"


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    hint = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    return f"{argument.arg}{hint}{f' = {ast.unparse(default)}' if default else ''}"


def markdown(docstring: str) -> str:
    """A docstring of Google's style, with its sections as lists."""
    lines: list[str] = []
    in_section = False
    for line in docstring.splitlines():
        if line in ("Args:", "Raises:", "Returns:"):
            in_section = True
            lines += [f"{line[:-1]}:", ""]
        elif in_section and line.startswith("    ") and line[4:5] != " " and line[4:]:
            entry = _ENTRY.match(line[4:])
            lines.append(f"- `{entry[1]}`: {line[4:][entry.end() :]}" if entry else line[4:])
        elif in_section and line.startswith("        "):
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def print_class(kind: type) -> None:
    """Print a class: what it is, its fields, properties and methods."""
    print(f"### {kind.__name__}\n\n{markdown(inspect.getdoc(kind) or '')}")
    entries = [*fields(kind), *members(kind)]
    print("\n".join(entries) + "\n" if entries else "", end="\n" if entries else "")


def fields(kind: type) -> Iterator[str]:
    """The attributes of a class, each with the text below it."""
    node = cast("ast.ClassDef", parsed(kind))
    for statement, following in pairwise([*node.body, ast.Pass()]):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        if name.startswith("_"):
            continue
        text = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            text = f": {' '.join(str(following.value.value).split())}"
        yield f"- `{name}` (`{ast.unparse(statement.annotation)}`){text}"


def members(kind: type) -> Iterator[str]:
    """The public properties and methods that a class defines itself."""
    if issubclass(kind, enum.Enum):
        return
    for name, member in vars(kind).items():
        function: Any = member.fget if isinstance(member, property) else member
        function = getattr(function, "__func__", function)
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        call = "" if isinstance(member, property) else "()"
        yield f"- `{name}{call}`: {summary(function)}"


def summary(item: Any) -> str:
    """The first sentence of a docstring."""
    return (inspect.getdoc(item) or "").partition("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
