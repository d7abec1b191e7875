"""Names that are safe on every file system, and the grammar of UIDs."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath
from typing import NewType

PathComponent = NewType("PathComponent", str)
"""One folder's or file's name that was made here, never taken over from outside unseen."""
STATE_FOLDER = ".tcia-covid"
"""The folder, in a collection's, of what this program keeps for itself."""
_UID = re.compile(r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)*\Z")
_SAFE = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,63}\Z")
_TAG = re.compile(r"[a-f][0-9a-f]{7}")
_LIKE_TAGGED = re.compile(r"-[A-F][0-9A-F]{7}\Z")
_UNREADABLE = re.compile(r"[^A-Za-z0-9-]+")
_LONGEST_STEM = 60
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file, with any extension
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{d}{n}" for d in ("com", "lpt") for n in range(10)}
# what Windows, macOS, a Synology station and NFS put into folders of other people
_SYSTEM = {"thumbs.db", "desktop.ini", ".ds_store", "@eadir"}
_SYSTEM_STARTS = ("._", ".nfs")
# what stands beside the patients' folders
_OURS = {"metadata.csv", "manifest-md5.txt", "license.txt", "citation.bib", "supporting"}


def is_uid(text: str) -> bool:
    """Whether `text` is a DICOM UID: numbers joined by dots, 1 to 64 characters.

    Leading zeros are accepted, against PS3.5 section 9.1, for files in the archives have them.
    """
    return _UID.match(text) is not None


def is_system_file(name: str) -> bool:
    """Whether an operating system makes files or folders of this name on its own, anywhere."""
    return name.casefold() in _SYSTEM or name.startswith(_SYSTEM_STARTS)


def is_in_hidden_folder(file: PurePath) -> bool:
    """Whether a file, by its relative path, is in a folder that a tool keeps: `.git`, `.dvc`."""
    return any(folder.startswith(".") for folder in file.parent.parts)


def is_reserved(name: str) -> bool:
    """Whether a name, in any case, means something to an operating system or to this program."""
    plain = name.casefold()
    return plain.partition(".")[0] in _DEVICES or plain in _OURS or is_system_file(name)


def safe_name(original: str) -> PathComponent:
    """A folder name for a PatientID or description: readable, harmless, at most 69 characters.

    Distinct originals have distinct names, even where upper and lower case are the same. An
    original of capitals, digits, `.`, `_` and `-` stays as it is, unless it is reserved. Any other
    gets a tag: 8 hexadecimal digits of its SHA-256, the first of them a letter. An original that
    ends like a tag gets one itself, so neither kind of name can be taken for the other;
    `COVID-19-AR-16406491` ends in decimal digits alone, and stays.
    """
    if _is_safe(original):
        return PathComponent(original)
    stem = _UNREADABLE.sub("_", original)[:_LONGEST_STEM].strip("_-") or "unnamed"
    return PathComponent(f"{stem}-{_tag(original)}")


def _is_safe(original: str) -> bool:
    return (
        _SAFE.match(original) is not None
        and not original.endswith(".")
        and not is_reserved(original)
        and not _LIKE_TAGGED.search(original)
    )


def _tag(original: str) -> str:
    digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()
    found = _TAG.search(digest + "f0000000")  # should a digest have no letter at all
    return found[0] if found else ""
