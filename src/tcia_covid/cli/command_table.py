"""Every command: its arguments, options, help text and examples; its function is in `commands`."""

from __future__ import annotations

import click

from tcia_covid.cli import completion
from tcia_covid.cli.click_commands import Command
from tcia_covid.cli.options import (
    ADOPT,
    ARCHIVES,
    CITE_FORMAT,
    COMPARE,
    CONFIG,
    CONFIRM,
    DATA_FOLDER,
    DOCTOR,
    DOWNLOAD,
    DRY_RUN,
    FILES_FORMAT,
    FILES_TARGETS,
    FILTERS,
    FORMAT,
    HASHED,
    KEEP_FORMULAS,
    LIST,
    LOCAL_FILTERS,
    MD5,
    MORE_TARGETS,
    NEW_LAYOUT,
    NO_FSYNC,
    NULL,
    PORT,
    REPORT,
    SELECT,
    SERVE,
    STATUS,
    SUPPORTING,
    TARGETS,
    VERIFY,
)
from tcia_covid.cli.param_types import FILE, FOLDER

TOPICS = ("exit-codes", "environment", "filters", "layout", "targets", "templates")
"""What `help` explains besides the commands."""
SHELLS = ("bash", "zsh", "fish")
_FIND = (
    Command(
        "list",
        params=LIST,
        everyday=("all", "registry", "json"),
        help="""List the known collections with size, license and sources.

--all adds the names of the archive's other public collections: each is a TARGET, too.""",
        examples=("list", "list --all"),
    ),
    Command(
        "info",
        params=[
            click.Argument(
                ["collection"], metavar="COLLECTION", shell_complete=completion.collections
            )
        ],
        everyday=("registry", "json"),
        help="""Show details of one COLLECTION.

Counts, license, citation, publications, supporting files, sources, and what to know before using \
the data. COLLECTION is a name, an alias, a slug or a DOI.""",
        examples=("info COVID-19-AR", "info ricord-1a --json"),
        unused=("no_progress",),
    ),
    Command(
        "series",
        params=[TARGETS, *FILTERS, FORMAT, KEEP_FORMULAS, MD5, HASHED, *SELECT],
        everyday=("patient", "modality", "where", "max_series", "format", "md5", "json"),
        help="""List the series that TARGET and the filters select.

--format writes manifests: 'download' reads all of them, TCIA's Data Retriever reads tcia, s5cmd \
reads s5cmd.

csv and json are lock files: 'download lock.csv --frozen' fails where a series is not the version \
that they name. --md5 adds the hashes of the series in DIR, which prove that two folders have the \
same bytes.

'tcia-covid help targets' explains TARGET, 'tcia-covid help filters' the filters.""",
        examples=(
            "series COVID-19-AR --where 'PatientAge>=60'",
            "series COVID-19-AR --modality CT --format tcia > ct.tcia",
        ),
    ),
    Command(
        "plan",
        params=[TARGETS, *FILTERS, *DOWNLOAD, COMPARE],
        everyday=("output", "modality", "where", "first_patients", "max_size", "json"),
        help="""Show what 'download' would do, without doing it.

Shows series, images and bytes, what is complete already, whether the rest fits on the disk, and \
how long it takes. Needs no network for what the shipped catalog has.

Takes the same options as 'download': only this word of the command line differs. \
'tcia-covid help targets' explains TARGET, 'tcia-covid help filters' the filters.""",
        examples=("plan COVID-19-AR", "plan COVID-19-NY-SBU --modality CR,DX -o data"),
    ),
)
_GET = (
    Command(
        "download",
        params=[TARGETS, *FILTERS, *DOWNLOAD, DRY_RUN, *CONFIRM, *SUPPORTING],
        everyday=(
            *("output", "modality", "where", "first_patients", "max_size"),
            *("jobs", "max_rate", "dry_run"),
        ),
        help="""Download what TARGET names, complete and checked.

TARGET is a collection, a manifest, or a series, study or patient. Run the same command again to \
resume or repair; it does nothing if all is complete.

Without a TARGET, the values of --series, --study or --patient are the targets. Before more than \
50 GB (--confirm-above), a person at a terminal is asked; --yes, --quiet and --json do not ask.

'tcia-covid help targets' explains TARGET, 'tcia-covid help filters' the filters, 'tcia-covid help \
layout' the files.""",
        examples=(
            "download COVID-19-AR --first-patients 1 -o data",
            "download cart.tcia --max-rate 5MB",
        ),
    ),
    Command(
        "adopt",
        params=[click.Argument(["directory"], metavar="DIR", type=FOLDER), *ADOPT],
        everyday=("output", "collection", "link", "move", "copy", "json"),
        help="""Import DICOM files that you already have in DIR.

Each file is compared with the archive's MD5. Complete series go into the layout; images of \
incomplete ones are staged, and 'download' downloads only the others.

DIR may be the output of any other program: file names and folders do not matter. DIR is not \
changed, unless --move removes what was imported. With --collection, NIfTI volumes of \
'CT Images in COVID-19' are imported; their file names identify them.""",
        examples=("adopt old-files -o data", "adopt old-files --collection COVID-19-AR --move"),
    ),
)
_CHECK = (
    Command(
        "status",
        params=[DATA_FOLDER, *STATUS],
        everyday=("missing", "format", "watch", "json"),
        help="""Show what is complete, missing, running or failed, and why.

Reads only receipts and file names: opens no image, needs no network. DIR is the output folder of \
'download', or the folder of one collection in it.

Percentages are of bytes: of what the last download requested, and of the whole collection.""",
        examples=("status data --watch", "status data --missing --format tcia > missing.tcia"),
        unused=("no_progress",),
    ),
    Command(
        "verify",
        params=[DATA_FOLDER, MORE_TARGETS, *VERIFY],
        everyday=("deep", "online", "strict", "against", "jobs", "json"),
        help="""Re-check every file in DIR against its recorded MD5.

Lists missing, changed and unreadable files (exit code 1); the next 'download' repairs only those. \
Files that this program did not write are listed as unexpected.

--against also checks, without a network, that DIR has exactly the series that TARGETs and filters \
select.""",
        examples=("verify data", "verify data --against COVID-19-AR"),
    ),
    Command(
        "doctor",
        params=[DATA_FOLDER, *DOCTOR],
        everyday=("source", "connect_timeout", "first_byte_timeout", "nbia_url", "json"),
        help="""Check what downloads rely on: disk, network, archives.

Checks the disk of DIR, the connections, and the archives' responses fact by fact; then requests a \
small series from each archive and compares the images. The report contains no secrets: you \
can paste it into an issue.

Writes a few files to DIR and removes them. Exit code 0 means that everything works, 1 that \
something does not, 3 that no archive sent images, 4 that DIR cannot be used.""",
        examples=("doctor", "doctor data --source nbia --json"),
    ),
)
_USE = (
    Command(
        "report",
        params=[DATA_FOLDER, *REPORT],
        everyday=("open", "report_to", "json"),
        help="""Write an HTML page about DIR: completeness, plots, thumbnails.

It also shows license and citation, and which series are usable as volumes. The page works offline \
in any browser. Needs the extra 'report': pip install 'tcia-covid[report]'.

A second run, also after an interruption, reuses the thumbnails of the first.""",
        examples=("report data --open", "report data --to report.html"),
    ),
    Command(
        "files",
        params=[DATA_FOLDER, FILES_TARGETS, *LOCAL_FILTERS, NULL, FILES_FORMAT],
        everyday=("null", "files_format", "modality", "where", "json"),
        help="""Print the paths of downloaded images, in slice order.

Lists the complete series in DIR that TARGET and the filters select; without them, all. File \
names do not show the order of slices: paths are in slice order, by position or else by number.

csv has the columns of images.csv. Needs no network and opens no image.""",
        examples=(
            "files data COVID-19-AR --modality CT",
            "files data ricord-1a --format csv > images.csv",
        ),
        unused=("no_progress",),
    ),
    Command(
        "relayout",
        params=[DATA_FOLDER, NEW_LAYOUT, DRY_RUN, NO_FSYNC, KEEP_FORMULAS],
        everyday=("layout", "dry_run", "json"),
        help="""Rename the folders and files in DIR as --layout says.

Nothing is downloaded, and your own files in the folders stay where they are. After an \
interruption, run the same command again to resume.

'tcia-covid help layout' explains layouts. Incomplete series keep their names until 'download' \
has repaired them.""",
        examples=(
            "relayout data --layout retriever --dry-run",
            "relayout data --layout '{patient}/{series}/{nbia_file}.dcm'",
        ),
    ),
    Command(
        "cite",
        params=[
            click.Argument(
                ["targets"],
                nargs=-1,
                required=True,
                metavar="TARGET...",
                shell_complete=completion.targets,
            ),
            CITE_FORMAT,
            *ARCHIVES,
        ],
        everyday=("cite_format", "json"),
        help="""Print the citations that users of TARGET must give.

The data, the publications about them, and The Cancer Imaging Archive itself.""",
        examples=("cite COVID-19-AR", "cite COVID-19-AR --format bibtex > covid.bib"),
    ),
)
_SET_UP = (
    Command(
        "demo",
        params=[
            click.Argument(["directory"], required=False, metavar="[DIR]", type=FOLDER),
            SERVE,
            PORT,
        ],
        everyday=("serve", "port", "json"),
        help="""Try a download in seconds, without a network.

Starts a small archive on this computer, downloads from it into DIR (default: a new temporary \
folder), is interrupted, resumes, finds a damaged file, repairs it, and verifies the result.""",
        examples=("demo", "demo --serve --port 8080"),
        unused=("no_progress", "registry"),
    ),
    Command(
        "config",
        params=CONFIG,
        everyday=("json",),
        help="""Show all settings, and where each one comes from.

Each is set on the command line, by a variable, in a configuration file, or has its default. \
The file tcia-covid.yaml is read in the current folder, and config.yaml in the user's folder.

Accepts the options of all commands, and shows the values that they would have.""",
        examples=("config", "config --json"),
        unused=("no_progress",),
    ),
    Command(
        "completion",
        params=[click.Argument(["shell"], type=click.Choice(SHELLS), metavar="bash|zsh|fish")],
        everyday=("json",),
        help="""Print a script that completes commands, options and collections.

In ~/.bashrc: eval "$(tcia-covid completion bash)". In ~/.zshrc, after compinit, the same \
with zsh. For fish, see the example.""",
        examples=(
            "completion bash > tcia-covid.bash",
            "completion fish > ~/.config/fish/completions/tcia-covid.fish",
        ),
        unused=("no_progress", "registry"),
    ),
    Command(
        "registry",
        params=[
            click.Argument(["action"], type=click.Choice(("check", "schema")), metavar="ACTION"),
            click.Argument(["files"], nargs=-1, type=FILE, metavar="[FILE]..."),
        ],
        everyday=("json",),
        help="""Check registry FILEs, or print their JSON Schema.

A registry file describes more collections. The ACTION 'check' lists all errors with their lines \
(exit code 2 if there are any); 'schema' is for editors, which check and complete such files.""",
        examples=("registry check mine.yaml", "registry schema > registry.schema.json"),
        unused=("no_progress", "registry"),
    ),
    Command(
        "help",
        params=[
            click.Argument(
                ["topic"],
                required=False,
                metavar="[COMMAND|TOPIC]",
                shell_complete=lambda _ctx, _param, incomplete: completion.words(
                    [*COMMANDS, *TOPICS], incomplete
                ),
            )
        ],
        everyday=("json",),
        help="""Explain a COMMAND, or a TOPIC.

The topics are exit-codes, environment, filters, layout, targets and templates.""",
        examples=("help download", "help exit-codes"),
        unused=("no_progress", "registry"),
    ),
)
GROUPS = {"Find": _FIND, "Get": _GET, "Check": _CHECK, "Use": _USE, "Set up": _SET_UP}
"""The commands, by the heads of their groups in help texts."""
COMMANDS: dict[str, Command] = {
    str(command.name): command for group in GROUPS.values() for command in group
}
