"""Every option there is, once: what verbs accept, the environment sets and files may say."""

from __future__ import annotations

from typing import Any

import click

from tcia_covid.cli import param_types
from tcia_covid.cli.click_commands import Option
from tcia_covid.core.settings import DEFAULT_OUTPUT

_FILTERS = "Filters (values of one are alternatives, different ones combine)"
_HOW = "How"
_TRANSFER = "Transfer"
_OUTPUT = "Output"
_ARCHIVES = "Archives"


def _filter(name: str, help_text: str, **attributes: Any) -> Option:
    return Option([f"--{name}"], section=_FILTERS, multiple=True, help=help_text, **attributes)


def _flag(section: str, *names: str, text: str) -> Option:
    return Option(names, section=section, is_flag=True, help=text)


def _option(section: str, *names: str, text: str, **attributes: Any) -> Option:
    return Option(names, section=section, help=text, **attributes)


COUNT = param_types.whole_number(0)
SOME = param_types.whole_number(1)
FILTERS = (
    Option(
        ["--shared-cart"],
        section="Targets",
        multiple=True,
        type=param_types.ONE_A_LINE,
        metavar="NAME",
        help="A cart shared on NBIA's page, as one more TARGET: its name or address.",
    ),
    _filter("patient", "PatientID.", type=param_types.ONE_A_LINE),
    _filter("study", "StudyInstanceUID."),
    _filter("series", "SeriesInstanceUID."),
    _filter("modality", "CT, MR, CR, DX and so on."),
    _filter("body-part", "BodyPartExamined, in any case.", type=param_types.ONE_A_LINE),
    _filter(
        "description",
        "Found anywhere in SeriesDescription, in any case.",
        type=param_types.ONE_A_LINE,
        metavar="REGEX",
    ),
    _option(
        _FILTERS,
        "--first-patients",
        text="At most N patients of each collection.",
        type=SOME,
        metavar="N",
    ),
    _option(_FILTERS, "--max-series", text="At most N series.", type=SOME, metavar="N"),
    _option(
        _FILTERS,
        "--max-size",
        text="Series in order until the next would not fit: 20GB.",
        type=param_types.SIZE,
    ),
    _option(
        _FILTERS,
        "--shard",
        text="The I-th of N disjoint, balanced shares, for job arrays.",
        type=param_types.SHARD,
        metavar="I/N",
    ),
)
OUTPUT = _option(
    _HOW,
    "--output",
    "-o",
    text="The folder that holds the collections' folders.",
    type=param_types.FOLDER,
    metavar="DIR",
    default=DEFAULT_OUTPUT,
    show_default=True,
)
SOURCE = _option(
    _HOW,
    "--source",
    text="Where series come from; auto takes whichever archive can give them.  [default: auto]",
    type=click.Choice(("auto", "nbia", "idc")),
)
ACCEPT_LISTED = _flag(
    _HOW,
    "--accept-listed",
    text="The archive's list is right although more is expected: series or images were withdrawn.",
)
COMMERCIAL_USE = _flag(
    _HOW, "--commercial-use", text="Refuse a collection whose license forbids commercial use."
)
SUPPORTING = (
    _flag(
        _HOW,
        "--supporting",
        text="Clinical tables, annotations and manifests, too, into supporting/.",
    ),
    _flag(_HOW, "--supporting-only", text="These files and no images."),
)
UPDATE = _flag(_HOW, "--update", text="Fetch series that changed in the archive anew.")
LAYOUT = _option(
    _HOW,
    "--layout",
    text="Folders of new series: uid, descriptive, or a template such as "
    "'{patient}/{modality}-{series}'.  [default: uid]",
    metavar="LAYOUT",
)
PATIENCE = (
    _option(
        _TRANSFER,
        "--retries",
        text="Fruitless attempts in a row before giving up; progress starts the count again.  "
        "[default: 6]",
        type=COUNT,
        metavar="N",
    ),
    _option(
        _TRANSFER,
        "--retry-wait",
        text="The longest first pause before a retry; doubles each time.  [default: 1]",
        type=param_types.PAUSE,
    ),
    _option(
        _TRANSFER,
        "--connect-timeout",
        text="To make a connection.  [default: 20]",
        type=param_types.SECONDS,
    ),
    _option(
        _TRANSFER,
        "--first-byte-timeout",
        text="From a request to the first byte of its answer.  [default: 620]",
        type=param_types.SECONDS,
    ),
    _option(
        _TRANSFER,
        "--stall-timeout",
        text="Silence in the middle of an answer.  [default: 60]",
        type=param_types.SECONDS,
    ),
    _option(
        _TRANSFER,
        "--outage-timeout",
        text="How long a run bears that no archive answers any more.  [default: as long as it had "
        "worked, 600 to 43200]",
        type=param_types.PAUSE,
    ),
    _option(
        _TRANSFER,
        "--min-rate",
        text="Bytes a second; a slower answer is dropped and asked for again.  [default: 1KiB]",
        type=param_types.SIZE,
    ),
)
MAX_RATE = _option(
    _TRANSFER,
    "--max-rate",
    text="Bytes a second on the network, all connections together: 50MB; bars count "
    "unpacked bytes.",
    type=param_types.SIZE,
)
JOBS = _option(
    _TRANSFER,
    "--jobs",
    "-j",
    text="Series to receive at once; from IDC, a third more.  [default: 8]",
    type=param_types.whole_number(1, 256),
    metavar="N",
)
READERS = _option(
    _TRANSFER,
    "--jobs",
    "-j",
    text="Threads that read.  [default: twice the processors, at most 8]",
    type=param_types.whole_number(1, 256),
    metavar="N",
)
NO_FSYNC = _flag(
    _TRANSFER,
    "--no-fsync",
    text="Do not force data to the disk: faster on slow disks, but a power cut may damage series "
    "that count as complete ('verify' would find them).",
)
EVERYWHERE = (
    _flag(_OUTPUT, "--json", text="One JSON document on standard output, nothing else there."),
    _flag(_OUTPUT, "--quiet", "-q", text="The result, and nothing on standard error but errors."),
    _flag(_OUTPUT, "--verbose", "-v", text="More detail; tracebacks of errors."),
    _flag(_OUTPUT, "--no-progress", text="A line now and then instead of progress bars."),
    _option(
        _OUTPUT,
        "--log-file",
        text="Append everything that happens, with times, to FILE.",
        type=param_types.FILE,
        metavar="FILE",
    ),
    _option(
        _OUTPUT,
        "--events",
        text="Append one JSON object a line to FILE as things happen.",
        type=param_types.FILE,
        metavar="FILE",
    ),
    _option(
        _ARCHIVES,
        "--registry",
        text="A file of collections, added to the shipped one; may be repeated.",
        type=param_types.FILE,
        metavar="FILE",
        multiple=True,
    ),
    _option(
        _ARCHIVES, "--nbia-url", text="Base URL of NBIA's API, v4 or v1.", type=param_types.URL
    ),
    _option(
        _ARCHIVES,
        "--idc-url",
        text="IDC's buckets: aws, gcs, or the URL of another S3 endpoint; several, with commas "
        "between, are tried in this order.",
        type=param_types.BUCKET_HOST,
    ),
    _option(_ARCHIVES, "--site-url", text="Base URL of TCIA's site API.", type=param_types.URL),
)
DRY_RUN = _flag(_HOW, "--dry-run", text="Only say what would be done, as 'plan' does.")
COMPARE = _flag(
    _HOW, "--compare", text="List how NBIA's lists differ from the shipped catalog; exit code 1."
)
FORMAT = _option(
    _HOW,
    "--format",
    text="How the result is written; --json beats it.",
    type=click.Choice(("table", "csv", "json", "tcia", "txt")),
    default="table",
    show_default=True,
)
STYLE = _option(
    _HOW,
    "style",
    "--format",
    key="cite-format",
    text="How the citation is written; --json beats it. In files it is cite-format, as a variable "
    "TCIA_COVID_CITE_FORMAT.",
    type=click.Choice(("text", "bibtex", "csl-json")),
    default="text",
    show_default=True,
)
DEEP = _flag(_HOW, "--deep", text="Also read each file as DICOM: header, length, UIDs.")
ONLINE = _flag(_HOW, "--online", text="Also compare with the archive's own hash of each series.")
STRICT = _flag(_HOW, "--strict", text="Exit with 1 if there are unexpected files.")
COLLECTION = _option(
    _HOW,
    "--collection",
    text="Take the files of this collection alone.  [default: of any that is known]",
    metavar="NAME",
)
LINK = _flag(
    _HOW, "--link", text="Make hard links, where that fails reflinks or copies (the default)."
)
MOVE = _flag(_HOW, "--move", text="Remove files from DIR once their series is complete.")
COPY = _flag(_HOW, "--copy", text="Make copies that share nothing with DIR.")
SERVE = _flag(_HOW, "--serve", text="Only start the archive, print its base URL, and stay.")
PORT = _option(
    _HOW,
    "--port",
    text="The port that --serve listens on.  [default: any free one]",
    type=param_types.whole_number(0, 65535),
    default=0,
)
SELECTING = (SOURCE, ACCEPT_LISTED, COMMERCIAL_USE)
DOWNLOADING = (OUTPUT, *SELECTING, UPDATE, LAYOUT, JOBS, MAX_RATE, *PATIENCE, NO_FSYNC)
_ADOPTING = (COLLECTION, LINK, MOVE, COPY)
_ONE_VERB = (DRY_RUN, COMPARE, FORMAT, STYLE, DEEP, ONLINE, STRICT, SERVE, PORT, *_ADOPTING)
ALL = (*FILTERS, *DOWNLOADING, *SUPPORTING, *EVERYWHERE, *_ONE_VERB)
"""What the environment and configuration files may set."""


def targets(*, required: bool = True) -> click.Argument:
    """The TARGET words of a verb."""
    return click.Argument(["targets"], nargs=-1, required=required, metavar="TARGET...")


def directory() -> click.Argument:
    """The DIR of a verb that looks at a download: by default where `download` puts it."""
    return click.Argument(
        ["directory"],
        required=False,
        metavar="[DIR]",
        type=param_types.FOLDER,
        envvar=OUTPUT.envvar,
        default=default_directory,
    )


def default_directory() -> str:
    """What a configuration file says that the output folder is, or the default."""
    context = click.get_current_context(silent=True)
    found = context.lookup_default(str(OUTPUT.name)) if context else None
    return str(found or OUTPUT.default)
