"""`help`: explains commands, and topics from the tables that the program itself uses."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.click_commands import first_sentence
from tcia_covid.cli.command_table import COMMANDS
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import FILTERS
from tcia_covid.core.errors import EXIT_CODES, EXIT_OK, UsageError, did_you_mean
from tcia_covid.core.models import SERIES_NAMES, ImageAttributes, Series
from tcia_covid.core.safe_names import STATE_FOLDER
from tcia_covid.http.errors import CA_VARIABLES
from tcia_covid.output.tables import key_values, width
from tcia_covid.selection.conditions import RELATIONS
from tcia_covid.selection.targets import MANIFEST_SUFFIXES
from tcia_covid.store.layout import FIELDS, FILE_FIELDS, NAMED, Layout
from tcia_covid.store.reports import REPORT_FILES

_MAX_WIDTH = 80
_OTHER_VARIABLES = {
    "HTTPS_PROXY, NO_PROXY": "proxies, as in most programs",
    **dict.fromkeys(CA_VARIABLES, "CA certificates; the first of these that is set is used"),
    "XDG_CONFIG_HOME": "folder for the user's configuration file, see 'tcia-covid config'",
    "APPDATA": "the same on Windows",
    "TERM, CI": "TERM=dumb and CI=true: progress as plain lines, not bars",
}
"""Variables of other programs that this one reads, too."""
_EXAMPLE = Series(
    uid="1.3.77002",
    collection="COVID-19-AR",
    patient="P1",
    study="1.3.77001",
    modality="CT",
    number=2,
    description="AX",
    study_date="2012-03-08",
    study_description="CHEST",
)
_EXAMPLE_IMAGES = {
    f"{_EXAMPLE.uid}.{number}": ImageAttributes(number=str(number), acquisition="1", study_id="41")
    for number in range(1, 121)
}


def command(console: Console, *, topic: str | None, **_: Any) -> int:
    """Explain a command or a topic; without one, list the commands."""
    text = help_text(topic, click.get_current_context().find_root())
    console.answer(topic=topic, text=text)
    console.result(text)
    return EXIT_OK


def help_text(topic: str | None, program: click.Context) -> str:
    """The help text of a command or topic, or of the program.

    Raises:
        UsageError: there is none.
    """
    if topic is None:
        return program.get_help()
    if topic in TOPICS:
        return TOPICS[topic]()
    if topic in COMMANDS:
        return click.Context(COMMANDS[topic], info_name=topic, parent=program).get_help()
    suggestion = did_you_mean(topic, [*COMMANDS, *TOPICS])
    hint = f"{suggestion} the topics are {', '.join(TOPICS)}; 'tcia-covid help' lists the commands"
    raise UsageError(f"there is no help on {topic[:60]!r}", hint=hint.lstrip())


def exit_codes() -> str:
    """What each exit code means, and what to do."""
    rows = []
    for entry in EXIT_CODES:
        advice = f" To do: {entry.advice}." if entry.advice else ""
        rows.append((", ".join(map(str, entry.codes)), f"{entry.meaning}.{advice}"))
    return _page("Exit codes", "The exit code of a command says what happened.", rows)


def environment() -> str:
    """How variables set options, and which others are read."""
    return _page(
        "Environment",
        "Each option has a variable: TCIA_COVID_ and the name that 'tcia-covid config' shows, in "
        "capitals, with _ for -. --max-rate 5MB is TCIA_COVID_MAX_RATE=5MB. The command line "
        "overrides the environment, which overrides tcia-covid.yaml. The value of a flag is true "
        "or false. Several values are separated by spaces, or by line breaks where a value may "
        "contain spaces. Others that are read:",
        _OTHER_VARIABLES.items(),
    )


def layout() -> str:
    """What is in the output folder, and how series are named."""
    reports = textwrap.indent(_wrapped(", ".join(REPORT_FILES)), "  ").lstrip()
    tree = f"""\
DIR/COVID-19-AR/
  <PatientID>/<StudyInstanceUID>/<SeriesInstanceUID>/<SOPInstanceUID>.dcm
  {reports}
  {STATE_FOLDER}/   receipts, images of incomplete series, files set aside"""
    rows = [(name, _example_path(named)) for name, named in NAMED.items()]
    intro = (
        "A series folder has its images in place if and only if every image of the series is "
        "there and checked. Files that this program did not write are never deleted, changed or "
        "moved out of sight. --layout names the folders of new series, and files; 'relayout' "
        "renames those that you have:"
    )
    own = _wrapped("'tcia-covid help templates' explains names of your own.")
    return "\n\n".join(["Layout", tree, _page("", intro, rows), own])


def templates() -> str:
    """The fields of a template."""
    intro = (
        "--layout '{patient}/{modality}-{series}' has fields in braces, and / between folders. "
        "It needs series, series_tail or nbia_series. --layout "
        "'{patient}/{series}/{instance_number:03}.dcm' names files, too, with three digits. Equal "
        "names get the UID appended. Unknown values are NA."
    )
    rows = [(name, str(value(_EXAMPLE, "41"))) for name, value in FIELDS.items()]
    return "\n\n".join(
        [
            _page("Templates", intro, rows),
            _wrapped(f"In file names also: {', '.join(sorted(FILE_FIELDS))}."),
        ]
    )


def _example_path(layout: Layout) -> str:
    """The path of the twelfth of 120 images."""
    uid = list(_EXAMPLE_IMAGES)[11]
    names = layout.file_names(_EXAMPLE, _EXAMPLE_IMAGES, "41")
    return str(layout.folder(_EXAMPLE, "41") / names.get(uid, f"{uid}.dcm"))


def targets() -> str:
    """What a TARGET can be."""
    collections = ", ".join(collection.name for collection in load_registry())
    kinds = {
        "collection": f"name, alias, slug, DOI or address of its page: {collections}. Any other "
        "public TCIA collection by its exact name ('tcia-covid list --all')",
        "identifier": "SeriesInstanceUID, StudyInstanceUID, PatientID, crdc_series_uuid, or an "
        "s3:// or gs:// address of IDC",
        "manifest": f"a file ({', '.join(MANIFEST_SUFFIXES)}), an https:// address of one, or - "
        "for standard input",
        "lock file": "what 'series --format csv' (or json) writes: a manifest that also names the "
        "version of each series, for 'download --frozen' and 'verify --against'",
        "cart": "--shared-cart NAME: a cart that another user shared on NBIA's web site",
    }
    return _page(
        "Targets",
        "A TARGET is one of these, tried in this order. Commas separate several. Without a TARGET, "
        "the values of --series, --study or --patient are the targets. 'tcia-covid help filters' "
        "explains how to select from them.",
        kinds.items(),
    )


def filters() -> str:
    """The filters that take values, and the columns that can be compared."""
    rows = [
        (max(option.opts, key=len), first_sentence(str(option.help)))
        for option in FILTERS
        if option.multiple and option.key != "shared-cart"
    ]
    return "\n\n".join(
        [
            _page(
                "Filters",
                "Values of one filter are alternatives (repeated, or with commas), different "
                "filters combine, and every --where must hold: 'PatientSex=F', "
                f"'Manufacturer~siemens|ge'. Relations: {' '.join(RELATIONS)} (~ is a regular "
                "expression). In the first five, @FILE is a list or a table of values.",
                rows,
            ),
            _wrapped(f"Columns for --where: {', '.join(SERIES_NAMES.values())}."),
        ]
    )


TOPICS: Mapping[str, Callable[[], str]] = {
    "exit-codes": exit_codes,
    "environment": environment,
    "filters": filters,
    "layout": layout,
    "targets": targets,
    "templates": templates,
}
"""The topics, by their names."""


def _page(head: str, intro: str, rows: Iterable[tuple[str, str]]) -> str:
    """A head, a paragraph, and a list of terms with their meanings."""
    terms = textwrap.indent(key_values(rows, _columns() - 2), "  ")
    return "\n\n".join(filter(None, (head, _wrapped(intro), terms)))


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _columns(), break_long_words=False, break_on_hyphens=False)


def _columns() -> int:
    return min(width() or _MAX_WIDTH, _MAX_WIDTH)
