"""The command line of `ascli`: how it is found, installed and called."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence

NAME = "ascli"
URL_VARIABLE = "TCIA_COVID_PACKAGE_URL"
"""The environment variable through which `ascli` gets a link: the process list shows none."""

_RECEIVE = (NAME, "faspex5", "packages", "receive")


def find_ascli() -> str | None:
    """Where `ascli` is on the PATH; None if it is not."""
    return shutil.which(NAME)


def arguments(
    program: str, folder: str, paths: Sequence[str] = (), *, max_rate: float | None = None
) -> list[str]:
    """The command that receives a package, or some paths of it, into a folder.

    Args:
        program: `ascli`, with its folder.
        folder: exists.
        paths: in the package; empty for all of it.
        max_rate: bytes a second.
    """
    limit = []
    if max_rate is not None:
        # Aspera counts in thousands of bits a second.
        rate = {"target_rate_kbps": max(1, round(max_rate * 8 / 1000))}
        limit = [f"--ts=@json:{json.dumps(rate, separators=(',', ':'))}"]
    url = f"--url=@env:{URL_VARIABLE}"
    return [program, *_RECEIVE[1:], url, f"--to-folder={folder}", *limit, *paths]


def install_commands() -> tuple[str, ...]:
    """The commands that install `ascli` and the transfer program that it drives."""
    return ("gem install aspera-cli    # Ruby 3.1 or newer", f"{NAME} config ascp install")


def receive_command(url: str, folder: str) -> str:
    """The command that a person types to receive a package.

    Args:
        url: the package's link.
        folder: where to.
    """
    return shlex.join([*_RECEIVE, f"--url={url}", f"--to-folder={folder}"])
