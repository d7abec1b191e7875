"""`download`: the main job."""

from __future__ import annotations

from typing import Any

from tcia_covid.cli.arguments import targets
from tcia_covid.cli.command import verb
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import DOWNLOADING, DRY_RUN, EVERYWHERE, FILTERS, SUPPORTING


@verb(targets(required=False), *FILTERS, *DOWNLOADING, DRY_RUN, *SUPPORTING, *EVERYWHERE)
def download(
    console: Console, targets: tuple[str, ...], output: str, *, dry_run: bool, **choices: Any
) -> int:
    """Download what TARGET names, complete and checked.

    TARGET is a collection (name, alias, slug or DOI), a manifest (.tcia, .csv, .tsv, .txt, - for
    standard input) or a SeriesInstanceUID. Running the same command again goes on where the last
    run stopped, mends what was damaged, and costs next to nothing when all is there.
    """
    from tcia_covid.cli.listening import listening  # noqa: PLC0415 - --help does without
    from tcia_covid.cli.outcome import present  # noqa: PLC0415
    from tcia_covid.cli.supervise import supervised  # noqa: PLC0415
    from tcia_covid.download import download as carry_out  # noqa: PLC0415
    from tcia_covid.library.asking import request_of  # noqa: PLC0415

    request = request_of(targets, output, **choices)
    if dry_run:
        from tcia_covid.cli.planning import show_plan  # noqa: PLC0415

        return show_plan(console, request)
    with listening(console) as emit:
        summary = supervised(lambda stop: carry_out(request, emit=emit, stop=stop))
    return present(console, summary)


command = download
