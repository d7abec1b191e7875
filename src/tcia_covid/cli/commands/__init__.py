"""The commands: arguments, options and help of each; its module here is imported when it runs."""

from __future__ import annotations

import click

from tcia_covid.cli import options
from tcia_covid.cli.click_commands import Command
from tcia_covid.cli.options import DISPLAY, DOWNLOAD, FILTERS, FOLDER, SELECT

_TARGETS = click.Argument(["targets"], nargs=-1, required=True, metavar="TARGET...")
_ANY_TARGETS = click.Argument(["targets"], nargs=-1, metavar="TARGET...")
_COLLECTION = click.Argument(["collection"], metavar="COLLECTION")
_SOURCE_FOLDER = click.Argument(["directory"], metavar="DIR", type=FOLDER)
_DEMO_FOLDER = click.Argument(["directory"], required=False, metavar="[DIR]", type=FOLDER)
_DATA_FOLDER = click.Argument(
    ["directory"],
    required=False,
    metavar="[DIR]",
    type=FOLDER,
    envvar=options.OUTPUT.variable,
    default=options.default_output,
)
COMMANDS = (
    Command(
        "list",
        *DISPLAY,
        description="""List the known collections with size, license and sources.""",
    ),
    Command(
        "info",
        _COLLECTION,
        *DISPLAY,
        description="""Show details of one COLLECTION.

        Counts, license, citation, publications, supporting files, sources, and what to know
        before using the data. COLLECTION is a name, an alias, a slug or a DOI.
        """,
    ),
    Command(
        "series",
        _ANY_TARGETS,
        *FILTERS,
        options.FORMAT,
        options.KEEP_FORMULAS,
        *SELECT,
        *DISPLAY,
        description="""List the series that TARGET and the filters select.

        'tcia-covid series COVID-19-AR --modality CT --format tcia > ct.tcia' writes a manifest
        for TCIA's own Data Retriever; 'download' reads it too.
        """,
    ),
    Command(
        "plan",
        _ANY_TARGETS,
        *FILTERS,
        *DOWNLOAD,
        options.COMPARE,
        *DISPLAY,
        description="""Show what 'download' would do, without doing it.

        Shows patients, series, images and bytes, what is complete already, whether the rest fits
        on the disk, and how long it takes. Needs no network for the collections in the shipped
        catalog. Takes the same options as 'download'.
        """,
    ),
    Command(
        "download",
        _ANY_TARGETS,
        *FILTERS,
        *DOWNLOAD,
        options.DRY_RUN,
        *options.SUPPORTING,
        *DISPLAY,
        description="""Download what TARGET names, complete and checked.

        TARGET is a collection (name, alias, slug or DOI), a manifest (.tcia, .csv, .tsv, .txt, or
        - for standard input) or a SeriesInstanceUID. Run the same command again to resume an
        interrupted download or to repair damaged files; it does nothing if all is complete.
        """,
    ),
    Command(
        "adopt",
        _SOURCE_FOLDER,
        *options.ADOPT,
        *DISPLAY,
        description="""Import DICOM files that you already have in DIR.

        DIR may be the output of any other program: file names and folders do not matter. Each
        file is compared with the archive's MD5. Complete series go into the layout; images of
        incomplete ones are staged, and 'download' fetches only the rest. DIR is not changed,
        unless --move removes what was imported. NIfTI volumes of 'CT Images in COVID-19' are
        imported, by their names, with --collection.
        """,
    ),
    Command(
        "status",
        _DATA_FOLDER,
        *DISPLAY,
        description="""Show what is complete, running or failed in DIR, and why.

        Reads only receipts and file names: opens no image, needs no network. DIR is the output
        folder of 'download', or the folder of one collection in it.
        """,
    ),
    Command(
        "verify",
        _DATA_FOLDER,
        *options.VERIFY,
        *DISPLAY,
        description="""Re-check every file in DIR against its recorded MD5.

        Lists missing, changed and unreadable files (exit code 1); the next 'download' repairs
        only those. Files that this program did not write are listed as unexpected.
        """,
    ),
    Command(
        "cite",
        _TARGETS,
        options.CITE_FORMAT,
        *options.ARCHIVES,
        *DISPLAY,
        description="""Print the citations that users of TARGET must give.

        The data, the publications about them, and The Cancer Imaging Archive itself.
        """,
    ),
    Command(
        "demo",
        _DEMO_FOLDER,
        options.SERVE,
        options.PORT,
        *DISPLAY,
        description="""Try a download in seconds, without a network.

        Starts a small archive on this computer, downloads from it into DIR (default: a new
        temporary folder), is interrupted, resumes, finds a damaged file, repairs it, and verifies
        the result.
        """,
    ),
)
"""In the order of the help text."""
