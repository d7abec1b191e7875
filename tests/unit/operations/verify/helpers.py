"""What a check reports, in short, and ways to damage a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tcia_covid.core.models import Receipt
from tcia_covid.operations.verify import VerifyResult
from tcia_covid.operations.verify_files import Reason

needs_permissions = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="this user may read everything"
)


needs_symlinks = pytest.mark.skipif(
    sys.platform == "win32", reason="symbolic links need privileges on Windows"
)


def damage_in(result: VerifyResult) -> list[tuple[str, Reason]]:
    """Each damaged file's name, without the folders, and what is wrong with it."""
    return [(Path(damage.file).name, damage.reason) for damage in result.damage]


def unexpected_in(result: VerifyResult) -> list[tuple[str, str]]:
    """Each unexpected file's name, without the folders, and its description."""
    return [(file.file.rstrip("/").rpartition("/")[2], file.detail) for file in result.unexpected]


def image_files(receipt: Receipt) -> list[str]:
    return [image.file for image in receipt.images]
