"""What a person without `ascli` is told: what to install, what to type, where to look."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tcia_covid.errors import DestinationError
from tcia_covid.faspex import Package, install_commands, receive_command
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.selection.sizes import format_size

_HERE = "ct-images"


@dataclass(frozen=True, slots=True)
class Guide:
    """What to do without `ascli`."""

    lines: list[str]
    """For people."""
    commands: list[str]
    """What of it is to be typed, in turn."""


def guide(tree: VolumeTree, packages: Sequence[Package]) -> Guide:
    """Say what to do, for a run that found no `ascli`.

    The links are kept in files that their owner alone may read, and the commands name those: a
    passcode is part of a link, so it belongs on no screen, in no log and in no process list.

    Args:
        tree: where the links are kept.
        packages: with their links; empty where the site could not be asked.
    """
    collection = tree.collection
    install = install_commands()
    links = _keep_links(tree, [one for one in packages if one.is_public_link])
    adopt = ["tcia-covid", "adopt", _HERE, "--collection", collection.name]
    adopt += ["--output", str(tree.root.parent)]
    receive = [receive_command(link, _HERE) for _, link in links]
    commands = [*install, *receive, shlex.join(adopt)]
    page = collection.page or "www.cancerimagingarchive.net"
    old = [one.title for one in packages if not one.is_public_link]
    lines = [
        f"{collection.name} is received with ascli (aspera-cli), which is not installed here:",
        *(f"  {command}" for command in install),
        "then run the same command again. Or receive the packages by hand:",
        *_receiving(links, page),
        *(f"  # {title}: ascli does not take its link" for title in old),
        f"  {commands[-1]}",
        f"Or download them with a browser from {page}, and adopt them likewise.",
    ]
    return Guide(lines, commands)


def _receiving(links: Sequence[tuple[Package, str]], page: str) -> Iterator[str]:
    for package, link in links:
        size = f" ({format_size(package.size)})" if package.size else ""
        yield f"  # {package.title}{size}"
        yield f"  {receive_command(link, _HERE)}"
    if not links:
        yield f"  {receive_command('LINK', _HERE)}"
        yield f"  with the address of each download button for LINK, from {page}"


def _keep_links(tree: VolumeTree, packages: Sequence[Package]) -> list[tuple[Package, str]]:
    """Write the links to files; gives each package with how `ascli` is told to read its own."""
    links: list[tuple[Package, str]] = []
    with contextlib.suppress(DestinationError, OSError):
        for package in packages:
            tree.prepare()
            folder = tree.state / "faspex" / package.key
            tree.disk.make_folder(folder)
            path = _private(tree, folder / "link", package.url)
            links.append((package, f"@file:{path}"))
    return links


def _private(tree: VolumeTree, path: Path, text: str) -> Path:
    """Write a file that its owner alone may read."""
    tree.write_file(path)
    path.chmod(0o600)
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
    return path.resolve()
