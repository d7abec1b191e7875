"""All options of commands, environment variables and configuration files."""

from __future__ import annotations

import copy
from typing import Any

import click

from tcia_covid.cli import completion
from tcia_covid.cli.param_types import (
    BUCKET_HOST,
    DURATION,
    FILE,
    FOLDER,
    ONE_PER_LINE,
    POSITIVE_DURATION,
    RATE,
    SIZE,
    URL,
    NumberRange,
    WholeNumberRange,
)
from tcia_covid.core.errors import UsageError
from tcia_covid.core.safe_names import DEFAULT_OUTPUT

ENVIRONMENT = "TCIA_COVID"
"""The prefix of environment variables: `--max-rate` is TCIA_COVID_MAX_RATE."""
_FILTERS = "Filters (values of one filter are alternatives, different filters combine)"
_GENERAL = "Options"
_TRANSFER = "Transfer"
_OUTPUT = "Output"
_SOURCES = "Sources"
_AGAINST = "With --against"
_ONLINE = "With --online"
_ALL = "With --all"


class Option(click.Option):
    """An option that knows its section of the help text.

    Flags get an opposite, which help texts do not show: `--no-json` unsets what an environment
    variable or a configuration file sets.
    """

    def __init__(self, *declarations: str, section: str, **attributes: Any) -> None:
        self.section = section
        if attributes.get("is_flag"):
            name = next(word for word in declarations if word.startswith("--"))[2:]
            opposite = name.removeprefix("no-") if name.startswith("no-") else f"no-{name}"
            others = [word for word in declarations if word != f"--{name}"]
            declarations = (name.replace("-", "_"), f"--{name}/--{opposite}", *others)
            attributes.setdefault("default", False)
        super().__init__(declarations, **attributes)

    @property
    def key(self) -> str:
        """The name in configuration files."""
        return str(self.name).replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"{ENVIRONMENT}_{self.name}".upper()

    def moved_to(self, section: str) -> Option:
        """Return the same option for another section."""
        moved = copy.copy(self)
        moved.section = section
        return moved

    def described(self, text: str) -> Option:
        """Return the same option with another help text, for a command that uses it otherwise."""
        other = copy.copy(self)
        other.help = text
        return other

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The line of the help text, without the opposite."""
        opposites, self.secondary_opts = self.secondary_opts, []
        try:
            return super().get_help_record(ctx)
        finally:
            self.secondary_opts = opposites


def _option(section: str, names: str, text: str, **attributes: Any) -> Option:
    return Option(*names.split(), section=section, help=text, **attributes)


def _flag(section: str, names: str, text: str) -> Option:
    return _option(section, names, text, is_flag=True)


def _filter(name: str, text: str, **attributes: Any) -> Option:
    return _option(_FILTERS, name, text, multiple=True, **attributes)


def _file(section: str, name: str, text: str, **attributes: Any) -> Option:
    return _option(section, name, text, type=FILE, metavar="FILE", **attributes)


def _number(section: str, name: str, text: str, least: int = 1) -> Option:
    return _option(section, name, text, type=WholeNumberRange(least), metavar="N")


def _jobs(section: str, text: str) -> Option:
    return _option(section, "--jobs -j", text, type=WholeNumberRange(1, 256), metavar="N")


def _seconds(name: str, text: str, kind: NumberRange = POSITIVE_DURATION) -> Option:
    return _option(_TRANSFER, name, text, type=kind, metavar="SECONDS")


def _format(names: str, *formats: str) -> Option:
    """The format of a result, by default the first one."""
    own, _, other = names.partition(" ")
    elsewhere = (
        f" In files it is {own.replace('_', '-')}, in the environment {ENVIRONMENT}_{own.upper()}."
    )
    return _option(
        _GENERAL,
        names,
        f"{', '.join(formats[:-1])} or {formats[-1]}. --json overrides it."
        f"{elsewhere if other else ''}",
        type=click.Choice(formats),
        metavar="FORMAT",
        default=formats[0],
        show_default=True,
    )


FILTERS = (
    _option(
        "Targets",
        "--shared-cart",
        "A cart shared on NBIA's web site, as a further TARGET: its name or address.",
        multiple=True,
        type=ONE_PER_LINE,
        metavar="NAME",
    ),
    _filter(
        "--patient",
        "Only these patients (PatientID). Here and in the next four, commas separate values, and "
        "@FILE reads them from a list, or from a column of a CSV or Excel table.",
        type=ONE_PER_LINE,
    ),
    _filter("--study", "Only these studies (StudyInstanceUID)."),
    _filter("--series", "Only these series (SeriesInstanceUID)."),
    _filter(
        "--modality",
        "Only these modalities: CT, MR, CR, DX, ...",
        shell_complete=completion.modalities,
    ),
    _filter(
        "--body-part", "Only these body parts (BodyPartExamined, in any case).", type=ONE_PER_LINE
    ),
    _filter(
        "--description",
        "Only series whose SeriesDescription contains a match, in any case.",
        type=ONE_PER_LINE,
        metavar="REGEX",
    ),
    _filter(
        "--where",
        "Only series with, for instance, 'PatientAge>=60'. Any column can be compared: "
        "'PatientSex=F', 'StudyDate<2020-07', 'Manufacturer~siemens|ge', 'ImageCount!=1'. "
        "Repeat it for further conditions: all must hold.",
        type=ONE_PER_LINE,
        metavar="CONDITION",
    ),
    _number(_FILTERS, "--first-patients", "Only the first N patients of each collection."),
    _number(_FILTERS, "--max-series", "Only the first N series."),
    _option(
        _FILTERS,
        "--max-size",
        "Only the first series, up to this size: 20GB.",
        type=SIZE,
    ),
    _option(
        _FILTERS,
        "--shard",
        "Only the I-th of N disjoint, balanced shards, for job arrays.",
        metavar="I/N",
    ),
)
OUTPUT = _option(
    _GENERAL,
    "--output -o",
    "Output folder. It holds one folder per collection.",
    type=FOLDER,
    metavar="DIR",
    default=DEFAULT_OUTPUT,
    show_default=True,
)
SOURCE = _option(
    _GENERAL,
    "--source",
    "Archive to use; auto uses any that has the series.  [default: auto]",
    type=click.Choice(("auto", "nbia", "idc")),
)
ACCEPT_LISTED = _flag(
    _GENERAL,
    "--accept-listed",
    "Accept an archive's list that is shorter than expected: series were withdrawn.",
)
COMMERCIAL_USE = _flag(
    _GENERAL, "--commercial-use", "Refuse collections whose license forbids commercial use."
)
SUPPORTING = (
    _flag(
        _GENERAL,
        "--supporting",
        "Also download clinical tables, annotations and manifests, into supporting/.",
    ),
    _flag(_GENERAL, "--supporting-only", "Download these files and no images."),
)
FROZEN = _flag(
    _GENERAL,
    "--frozen",
    "Download only what each TARGET, a lock file of 'series --format csv' or json, names: a series "
    "whose crdc_series_uuid, ImageCount, FileSize or series_hash differs fails.",
)
UPDATE = _flag(_GENERAL, "--update", "Re-download series that changed in the archive.")


def _explain_layouts(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    program = ctx.find_root()
    if value == "help" and isinstance(program.command, click.Group) and not ctx.resilient_parsing:
        explain = program.command.commands["help"]
        explain.invoke(explain.make_context("help", ["layout"], parent=program))
        ctx.exit()
    return value


_LAYOUTS = (
    "uid, descriptive, retriever (as NBIA Data Retriever), retriever-classic, or a template such "
    "as '{patient}/{modality}-{series}'; see 'help layout'."
)
LAYOUT = _option(
    _GENERAL,
    "--layout",
    f"Names of new series: {_LAYOUTS}  [default: uid]",
    metavar="LAYOUT",
    is_eager=True,
    callback=_explain_layouts,
)
NEW_LAYOUT = LAYOUT.described(f"New names (required): {_LAYOUTS}")
"""That of `relayout`, which has no default."""
KEEP_FORMULAS = _flag(
    _OUTPUT,
    "--keep-formulas",
    "In CSV, put no quote (') before values that a spreadsheet would evaluate, such as =1+1.",
)
JOBS = _jobs(_TRANSFER, "Series to download in parallel.  [default: 8]  From IDC, a third more.")
PROCESSES = _option(
    _TRANSFER,
    "--processes",
    "Processes that download; they divide --jobs and --max-rate.  [default: up to the "
    "number of processors, one per 800 images; 1 from NBIA alone]",
    type=WholeNumberRange(1, 64),
    metavar="N",
)
MAX_RATE = _option(
    _TRANSFER,
    "--max-rate",
    "Bytes per second of all connections, such as 50MB. Progress bars count uncompressed bytes.",
    type=RATE,
)
NO_FSYNC = _flag(
    _TRANSFER,
    "--no-fsync",
    "Do not force data to the disk: faster on slow disks, but a power failure may damage "
    "series that count as complete ('verify' finds them).",
)
CONFIRM = (
    _flag(_GENERAL, "--yes -y", "Do not ask before a large download."),
    _option(
        _GENERAL,
        "--confirm-above",
        "Ask at a terminal before more than this is downloaded.  [default: 50GB]",
        type=SIZE,
    ),
)
NO_SPACE_CHECK = _flag(
    _TRANSFER, "--no-space-check", "Start even if the disk reports too little free space."
)
RETRY = (
    _number(
        _TRANSFER,
        "--retries",
        "Consecutive failures before giving up; any progress resets the counter.  [default: 6]",
        least=0,
    ),
    _seconds(
        "--retry-wait",
        "Longest pause before the first retry; doubles with each further one.  [default: 1]",
        DURATION,
    ),
    _seconds("--connect-timeout", "Time to wait for a connection.  [default: 20]"),
    _seconds(
        "--first-byte-timeout", "Time to wait for the first byte of a response.  [default: 620]"
    ),
    _seconds(
        "--stall-timeout",
        "Retry a transfer that stalls, or is slower than --min-rate, for this long.  [default: 60]",
    ),
    _seconds(
        "--outage-timeout",
        "How long to keep retrying when no archive responds.  [default: as long as the run has "
        "worked, 600 to 43200]",
        DURATION,
    ),
    _option(
        _TRANSFER,
        "--min-rate",
        "Retry a transfer slower than this many bytes per second.  [default: 1KiB]",
        type=RATE,
    ),
)
NBIA_URL = _option(_SOURCES, "--nbia-url", "Base URL of NBIA's API, v4 or v1.", type=URL)
ARCHIVES = (
    NBIA_URL,
    _option(
        _SOURCES,
        "--idc-url",
        "IDC's buckets: aws, gcs, or the URL of another S3 endpoint; several, separated by "
        "commas, are tried in order.",
        type=BUCKET_HOST,
    ),
    _option(_SOURCES, "--site-url", "Base URL of TCIA's web site API.", type=URL),
)
DISPLAY = (
    _flag(_OUTPUT, "--json", "Print the result as one JSON document."),
    _flag(_OUTPUT, "--quiet -q", "Print only the result and errors."),
    _flag(_OUTPUT, "--verbose -v", "Print more detail, and tracebacks of errors."),
    _flag(_OUTPUT, "--no-progress", "Print progress as plain lines, not bars."),
    _file(_OUTPUT, "--log-file", "Append a log with timestamps to FILE."),
    _file(_OUTPUT, "--events", "Append events to FILE as they happen, one JSON object per line."),
    _file(
        _SOURCES,
        "--registry",
        "Add the collections that FILE describes; repeatable.",
        multiple=True,
    ),
)
"""Options of every command."""
DRY_RUN = _flag(_GENERAL, "--dry-run", "Only show what would be done, as 'plan' does.")
COMPARE = _flag(
    _GENERAL, "--compare", "List how NBIA differs from the shipped catalog; exit code 1 if it does."
)
FORMAT = _format("--format", "table", "csv", "tsv", "json", "tcia", "s5cmd", "urls", "txt")
STATUS = (
    _flag(
        _GENERAL,
        "--missing",
        "Only list the series that are missing: of the last request, or else of the collection.",
    ),
    _flag(
        _GENERAL,
        "--watch",
        "Repeat the status until all series are complete, or no run is active.",
    ),
    FORMAT.moved_to("With --missing"),
)
FILES_FORMAT = _format("files_format --format", "paths", "csv", "json")
NULL = _flag(
    _GENERAL, "--null -0", "End each path with a NUL instead of a line break, for xargs -0."
)
MD5 = _flag(
    _GENERAL,
    "--md5",
    "Add the series_hash of each series, from its receipt in the folder of --output.",
)
HASHED = OUTPUT.moved_to("With --md5")
CITE_FORMAT = _format("cite_format --format", "text", "bibtex", "csl-json")
SERVE = _flag(_GENERAL, "--serve", "Only run the archive: print its base URL and wait.")
PORT = _option(
    _GENERAL,
    "--port",
    "Port for --serve.  [default: any free one]",
    type=WholeNumberRange(0, 65535),
    metavar="N",
    default=0,
)
LOCAL_FILTERS = tuple(option for option in FILTERS if option.key not in ("shared-cart", "shard"))
"""Filters that apply to downloaded series."""
_CONNECTION = (*RETRY, *ARCHIVES)
_LONG_RUNS = ("outage-timeout", "min-rate")
_LIST = (SOURCE, ACCEPT_LISTED, COMMERCIAL_USE)
SELECT = (*_LIST, *_CONNECTION)
DOWNLOAD = (
    OUTPUT,
    *_LIST,
    FROZEN,
    UPDATE,
    LAYOUT,
    JOBS,
    PROCESSES,
    MAX_RATE,
    NO_FSYNC,
    NO_SPACE_CHECK,
    KEEP_FORMULAS,
    *_CONNECTION,
)
REPORT = (
    _option(
        _GENERAL,
        "report_to --to",
        "Write the page to PATH: one file if it ends in .html, else a folder. In files it is "
        "report-to, in the environment TCIA_COVID_REPORT_TO.  [default: DIR/report.html, or "
        "DIR/report for more than 1000 series]",
        type=FOLDER,
        metavar="PATH",
    ),
    _flag(_GENERAL, "--open", "Open the page in the browser."),
    _jobs(_GENERAL, "Number of processes that decode images.  [default: processors, at most 8]"),
)
ADOPT = (
    _option(
        _GENERAL,
        "--collection",
        "Import only files of this collection.  [default: of any known one]",
        metavar="NAME",
        shell_complete=completion.collections,
    ),
    _flag(
        _GENERAL, "--link", "Hard-link files; reflink or copy them where that fails (the default)."
    ),
    _flag(_GENERAL, "--move", "Remove files from DIR once their series is complete."),
    _flag(_GENERAL, "--copy", "Copy files, so that nothing is shared with DIR."),
    OUTPUT,
    SOURCE,
    LAYOUT,
    _jobs(_TRANSFER, "Number of series to import in parallel.  [default: 8]"),
    NO_FSYNC,
    NO_SPACE_CHECK,
    KEEP_FORMULAS,
    *_CONNECTION,
)
_QUICK_DEFAULTS = {
    "retries": "1",
    "connect-timeout": "5",
    "first-byte-timeout": "60",
    "stall-timeout": "20",
}
"""Those of `doctor`, as in `operations.doctor.QUICK`, which takes time to import."""


def _quick(option: Option) -> Option:
    if option.key not in _QUICK_DEFAULTS:
        return option
    text = (option.help or "").partition("  [default: ")[0]
    return option.described(f"{text}  [default: {_QUICK_DEFAULTS[option.key]}]")


DOCTOR = (
    SOURCE,
    *(_quick(option) for option in RETRY if option.key not in _LONG_RUNS),
    *ARCHIVES,
)
ALL_ONLY = tuple(option.moved_to(_ALL) for option in (*RETRY, NBIA_URL))
LIST = (
    _flag(
        _GENERAL, "--all", text="Also ask NBIA for the names of the archive's other collections."
    ),
    *ALL_ONLY,
)
AGAINST_ONLY = tuple(option.moved_to(_AGAINST) for option in FILTERS if option.key != "shared-cart")
ONLINE_ONLY = tuple(option.moved_to(_ONLINE) for option in (*RETRY, NBIA_URL))
VERIFY = (
    _flag(_GENERAL, "--deep", "Also parse each file as DICOM: header, length, UIDs."),
    _flag(_GENERAL, "--online", "Also compare each series with the archive's own hash."),
    _flag(_GENERAL, "--strict", "Exit with code 1 if there are unexpected files."),
    _jobs(_GENERAL, "Number of threads that read.  [default: twice the processors, at most 8]"),
    _option(
        _AGAINST,
        "--against",
        "Also compare the folder with a TARGET of 'download', without a network: exit code 1 if "
        "series are missing, extra or of another version. Further TARGETs can follow; a lock file "
        "also names the version of each series.",
        multiple=True,
        type=ONE_PER_LINE,
        metavar="TARGET...",
    ),
    *AGAINST_ONLY,
    *ONLINE_ONLY,
)


def default_output() -> str:
    """The output folder that a configuration file sets, or the default."""
    context = click.get_current_context(silent=True)
    return str((context and context.lookup_default("output")) or DEFAULT_OUTPUT)


DATA_FOLDER = click.Argument(
    ["directory"],
    required=False,
    metavar="[DIR]",
    type=FOLDER,
    envvar=OUTPUT.variable,
    default=default_output,
)
"""A folder that holds downloads: by default the one that `download` uses."""
TARGETS = click.Argument(
    ["targets"], nargs=-1, metavar="TARGET...", shell_complete=completion.targets
)
FILES_TARGETS = click.Argument(
    ["targets"], nargs=-1, metavar="[TARGET]...", shell_complete=completion.targets
)
"""What `files` selects, by default everything."""
MORE_TARGETS = click.Argument(
    ["targets"], nargs=-1, metavar="", required=False, shell_complete=completion.targets
)
"""Further targets after `--against TARGET`."""
OPTIONS: dict[str, Option] = {}
"""Every option by its key, as it is declared first: what files and the environment may set."""
for _value in list(globals().values()):
    for _declared in _value if isinstance(_value, tuple) else (_value,):
        if isinstance(_declared, Option):
            OPTIONS.setdefault(_declared.key, _declared)

CONFIG = tuple(
    option
    for option in OPTIONS.values()
    if option not in DISPLAY and option not in (CITE_FORMAT, FILES_FORMAT)
)
"""All options except those of `DISPLAY`, and except the second and third --format."""


def refuse_unused(options: tuple[Option, ...], flag: str, purpose: str) -> None:
    """Refuse options that have an effect only with `flag`, which is there to `purpose`.

    Raises:
        UsageError: one of the options is on the command line.
    """
    context = click.get_current_context()
    for option in options:
        source = context.get_parameter_source(str(option.name))
        if source is click.core.ParameterSource.COMMANDLINE:
            raise UsageError(
                f"--{option.key} has no effect without {flag}", hint=f"add {flag} to {purpose}"
            )
