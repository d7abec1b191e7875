"""Writes the manual pages, from the declarations of the commands; the build of a wheel runs it.

python scripts/man_pages.py FOLDER
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
if str(SOURCE) not in sys.path:
    sys.path.insert(0, str(SOURCE))  # a build runs where nothing is installed but click

import click  # noqa: E402

from tcia_covid.cli.click_commands import Command  # noqa: E402
from tcia_covid.cli.command_table import COMMANDS, GROUPS  # noqa: E402
from tcia_covid.cli.main import program  # noqa: E402
from tcia_covid.core.errors import EXIT_CODES  # noqa: E402
from tcia_covid.core.version import __version__  # noqa: E402

NAME = "tcia-covid"
_SPECIAL = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "^": "\\(ha", "~": "\\(ti"})


def pages() -> dict[str, str]:
    """Give every page by the name of its file."""
    context = click.Context(program, info_name=NAME)
    texts = {f"{NAME}.1": _overview()}
    for name, command in COMMANDS.items():
        sub = click.Context(command, info_name=name, parent=context)
        texts[f"{NAME}-{name}.1"] = _page(command, sub)
    return texts


def write(folder: Path) -> list[Path]:
    """Write every page to a folder; give the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, text in pages().items():
        files.append(folder / name)
        files[-1].write_text(text, encoding="ascii", newline="\n")
    return files


def _overview() -> str:
    lines = [_title(NAME), ".SH NAME", f"{_text(NAME)} \\- {_text(_end(str(program.help)))}"]
    lines += [".SH SYNOPSIS", f".B {_text(NAME)}", ".I COMMAND", "\\&..."]
    for head, group in GROUPS.items():
        lines.append(f'.SH "{_text(head).upper()}"')
        for command in group:
            lines += _item(f"{_text(f'{NAME}-{command.name}')}(1)", command.summary)
    lines.append('.SH "EXIT STATUS"')
    for entry in EXIT_CODES:
        advice = f" To do: {entry.advice}." if entry.advice else ""
        lines += _item(", ".join(map(str, entry.codes)), f"{entry.meaning}.{advice}")
    lines += [".SH ENVIRONMENT", _text(f"'{NAME} help environment' lists the variables.")]
    lines += [".SH FILES", _text(f"'{NAME} config' names the configuration files.")]
    return "\n".join(lines) + "\n"


def _page(command: Command, context: click.Context) -> str:
    full_name = f"{NAME}-{command.name}"
    usage = " ".join(command.collect_usage_pieces(context))
    paragraphs = str(command.help).split("\n\n")
    lines = [_title(full_name), ".SH NAME"]
    lines.append(f"{_text(full_name)} \\- {_text(_end(command.summary))}")
    lines += [".SH SYNOPSIS", f".B {_text(f'{NAME} {command.name}')}", _text(usage)]
    lines.append(".SH DESCRIPTION")
    for number, paragraph in enumerate(paragraphs):
        lines += [*([".PP"] if number else []), _text(paragraph)]
    for section, records in command.sections(context).items():
        lines.append(f'.SH "{_text(section).upper()}"')
        for names, text in records:
            lines += _item(f"\\fB{_text(names)}\\fR", text)
    lines += [".SH EXAMPLES", *_examples(command.examples)]
    lines += [".SH SEE ALSO", f"{_text(NAME)}(1)"]
    return "\n".join(lines) + "\n"


def _title(name: str) -> str:
    return f'.TH "{_text(name).upper()}" 1 "" "{_text(f"{NAME} {__version__}")}"'


def _examples(examples: Iterable[str]) -> Iterator[str]:
    yield ".EX"
    yield from (_text(f"{NAME} {example}") for example in examples)
    yield ".EE"


def _item(term: str, text: str) -> tuple[str, str, str]:
    return ".TP", term, _text(text)


def _end(sentence: str) -> str:
    """A sentence without its period, as the names of pages have it."""
    return sentence.strip().rstrip(".")


def _text(text: str) -> str:
    """One line of plain text in roff."""
    line = re.sub(r"\s+", " ", text).strip().translate(_SPECIAL)
    return f"\\&{line}" if line.startswith((".", "\\(aq")) else line


if __name__ == "__main__":
    write(Path(sys.argv[1]))
