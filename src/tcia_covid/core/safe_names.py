"""Names that are safe on every file system, and the syntax of UIDs."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath

STATE_FOLDER = ".tcia-covid"
"""The folder of the program's own files, in that of a collection."""
DEFAULT_OUTPUT = "tcia-data"
"""The default output folder, in the current one."""
MAX_UID = 64
"""Characters of the longest UID."""
_UID = re.compile(rf"(?=.{{1,{MAX_UID}}}\Z)[0-9]+(\.[0-9]+)*\Z")
_NUMBER_OF_A_SPREADSHEET = re.compile(r"[0-9]+([.,][0-9]+)?[eE]\+?[0-9]+")
_SAFE = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,63}\Z")
_TAG = re.compile(r"[a-f][0-9a-f]{7}")
_TAGGED = re.compile(r"-[A-F][0-9A-F]{7}\Z")
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]\Z')
_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")
_MAX_STEM = 60
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file, with any extension
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{d}{n}" for d in ("com", "lpt") for n in range(10)}
# files that Windows, macOS, Synology stations and NFS create in any folder
_SYSTEM = {"thumbs.db", "desktop.ini", ".ds_store", "@eadir"}
_SYSTEM_PREFIXES = ("._", ".nfs")
# files next to the folders of patients
_OURS = {
    "metadata.csv",
    "images.csv",
    "manifest-md5.txt",
    "license.txt",
    "citation.bib",
    "croissant.json",
} | {"supporting"}


def is_uid(text: str) -> bool:
    """Whether `text` is a DICOM UID: numbers joined by dots, 1 to 64 characters.

    Leading zeros are accepted, against PS3.5 section 9.1: files in the archives have them.
    """
    return _UID.match(text) is not None


def uid_problem(text: str) -> str:
    """Explain why `text` is not a UID: the character, the length, the position; empty if it is one.

    A number without a dot is a UID by DICOM's grammar, but in a list it is something else.
    """
    wrong = next((at for at, char in enumerate(text) if char not in "0123456789."), None)
    if _NUMBER_OF_A_SPREADSHEET.fullmatch(text):
        return "a spreadsheet turned it into a number, which has fewer digits"
    if wrong is not None:
        return f"character {text[wrong]!r} at position {wrong + 1} is not a digit or a dot"
    if len(text) > MAX_UID:
        return f"it has {len(text)} characters, and a UID at most {MAX_UID}"
    if "." not in text:
        return "it has no dot"
    if is_uid(text):
        return ""
    return f"a number is missing next to the dot at position {(f'.{text}.'.find('..') or 1)}"


def is_system_file(name: str) -> bool:
    """Whether operating systems create files or folders of this name by themselves."""
    return name.casefold() in _SYSTEM or name.startswith(_SYSTEM_PREFIXES)


def is_in_hidden_folder(file: PurePath) -> bool:
    """Whether a relative path leads into a tool's hidden folder, such as `.git` or `.dvc`."""
    return any(folder.startswith(".") for folder in file.parent.parts)


def is_plain_name(name: str) -> bool:
    """Whether a name in a record of this program names a visible file or folder, and no path."""
    is_visible = name != "" and name.isprintable() and not name.startswith(".")
    return is_visible and "/" not in name and "\\" not in name and ":" not in name


def is_windows_name(name: str) -> bool:
    """Whether Windows permits a file or folder of this name."""
    is_device = name.casefold().partition(".")[0].rstrip() in _DEVICES
    return not is_device and not _NOT_ON_WINDOWS.search(name)


def is_reserved(name: str) -> bool:
    """Whether a name, in any case, has a meaning for an operating system or this program."""
    plain = name.casefold()
    return plain.partition(".")[0] in _DEVICES or plain in _OURS or is_system_file(name)


def safe_name(original: str) -> str:
    """Make a folder name of a PatientID or description: readable, safe, at most 69 characters.

    Distinct originals get distinct names, even on file systems that ignore case. An original of
    capitals, digits, `.`, `_` and `-` stays as it is, unless it is reserved. Any other gets a tag:
    8 hexadecimal digits of its SHA-256, the first of them a letter. An original that ends like a
    tag gets one itself, so the two kinds of names never collide; `COVID-19-AR-16406491` ends in
    decimal digits only, and stays.
    """
    safe = _SAFE.match(original) and not original.endswith(".") and not _TAGGED.search(original)
    if safe and not is_reserved(original):
        return original
    stem = _UNSAFE.sub("_", original)[:_MAX_STEM].strip("_-") or "unnamed"
    digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()
    tag = _TAG.findall(digest + "f0000000")[0]  # in case a digest has no letter
    return f"{stem}-{tag}"
