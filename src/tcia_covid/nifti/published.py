"""Holding the volumes that stand against the hashes that packages publish."""

from __future__ import annotations

from dataclasses import replace

from tcia_covid.errors import HeldError
from tcia_covid.model import Check, Receipt
from tcia_covid.nifti.sums import Sums
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.store.receipts import Filed


def compare_standing(sums: Sums, tree: VolumeTree) -> set[str]:
    """Note which volumes that stand are proved by a published hash, and which are refuted.

    Receipts tell their MD5s; no volume is opened. A patient that another run holds is left out.

    Args:
        sums: what is published.
        tree: what stands.

    Returns:
        the files that are refuted: noted as damaged, so that the next download replaces them.

    Raises:
        DestinationError: the disk.
    """
    refuted: set[str] = set()
    for receipt in list(tree.sound().values()) if len(sums) else ():
        if not sums.files.isdisjoint(image.file for image in receipt.images):
            refuted |= _compare(receipt, sums, tree)
    return refuted


def _compare(receipt: Receipt, sums: Sums, tree: VolumeTree) -> set[str]:
    agreed = {one.file: sums.agree(one.file, {"md5": one.md5}) for one in receipt.images}
    refuted = {file for file, fits in agreed.items() if fits is False}
    images = tuple(
        replace(one, check=Check.MD5) if agreed[one.file] else one for one in receipt.images
    )
    try:
        with tree.hold(receipt.series) as now:
            if now != receipt:
                return set()
            if refuted:
                tree.note_damage(receipt, refuted, "its hash is not the one of a .sums file")
            if images != receipt.images:
                tree.receipts.write(Filed(replace(receipt, images=images), ""))
    except HeldError:
        return set()
    return refuted
