"""The path of a series' folder below its collection's folder, and the names of its images."""

from __future__ import annotations

import itertools
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from tcia_covid.core.errors import UsageError, did_you_mean
from tcia_covid.core.models import ImageAttributes, Series
from tcia_covid.core.safe_names import MAX_UID, is_reserved, safe_name

_TAIL = 5
"""Characters of a UID at the end of descriptive names."""
_PLAIN = frozenset(string.ascii_letters + string.digits + "._-")
_is_plain = re.compile(r"[A-Za-z0-9._ -]{1,150}").fullmatch
_SUFFIX = ".dcm"
"""A template that ends in it names the files."""
_UNKNOWN = ImageAttributes()
_LONGEST_STUDY_ID = "X" * 16
_is_padding = re.compile(r"0[1-9]").fullmatch
_not_of_nbia = re.compile(r"[^A-Za-z0-9 .-]").sub
_ISO_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_MAX_DESCRIPTION = 53


class _Missing(str):
    """The text of a missing number, which is not padded."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return str(self)


_Value = str | int
_NA = _Missing("NA")


@dataclass(frozen=True, slots=True)
class Layout:
    """Templates with fields in braces."""

    template: str
    """Of the folders, separated by `/`."""
    file: str = ""
    """Of the files, without `.dcm`; if empty, they have their SOPInstanceUID as name."""

    @classmethod
    def parse(cls, text: str) -> Layout:
        """Make a layout from the name of one or from a template.

        Raises:
            UsageError: an unknown field, or a template with one place for several series or images.
        """
        if text in NAMED:
            return NAMED[text]
        if "{" not in text and "/" not in text:
            suggestion = did_you_mean(text, NAMED)
            raise UsageError(
                f"there is no layout {text!r}",
                hint=f"{suggestion} 'tcia-covid help layout' lists them".lstrip(),
            )
        folders, _, file = text.rpartition("/") if text.endswith(_SUFFIX) else (text, "", "")
        layout = cls(folders, file.removesuffix(_SUFFIX))
        names = _fields_of(folders, FIELDS.keys())
        first = text.split("/", maxsplit=1)[0]
        if is_reserved(first) or first.startswith("."):
            raise UsageError(
                f"the layout's first folder {first!r} is a reserved name",
                hint="choose another one, such as {patient}",
            )
        if names.isdisjoint(_NAMES_SERIES):
            raise UsageError(
                "the layout gives several series the same folder",
                hint=f"use {_listed(_NAMES_SERIES)} in its last folder",
            )
        if file and _fields_of(layout.file, FIELDS.keys() | FILE_FIELDS).isdisjoint(_NAMES_IMAGE):
            raise UsageError(
                "the layout gives several images the same file name",
                hint=f"use {_listed(_NAMES_IMAGE)} in it",
            )
        return layout

    def folder(self, series: Series, study_id: str = "") -> PurePosixPath:
        """The folder of `series`, relative to the collection's folder."""
        return PurePosixPath(self.folders(series, study_id)[0])

    def folders(self, series: Series, study_id: str = "") -> tuple[str, ...]:
        """The folders that `series` may have, by preference, with forward slashes.

        The second one, with the SeriesInstanceUID appended, is for a series whose first one is
        another series'. In the last one the UID is appended to the first folder's name: a folder
        above is another series'. StudyID is only in the headers of images.
        """
        return _folders(self.template, series, study_id)

    def has_folder(self, folder: str, series: Series, study_id: str = "") -> bool:
        """Whether `folder` is one of `folders`; quicker where it is the first."""
        first = "/".join(map(_component, _parts(self.template, series, study_id)))
        return folder == first or folder in self.folders(series, study_id)

    def file_names(
        self, series: Series, images: Mapping[str, ImageAttributes | None], study_id: str = ""
    ) -> dict[str, str]:
        """The names of a series' images, by SOPInstanceUID; empty if the layout names no files.

        Where several images would have one name, in any case, their UIDs are appended.
        `images` is what the headers of all images say, by SOPInstanceUID.
        """
        if not self.file:
            return {}
        fields = _values(FIELDS, series, study_id)
        of_nbia = _nbia_files(images)
        names = {}
        for uid, attributes in images.items():
            own = {name: value(attributes or _UNKNOWN) for name, value in _NUMBERS.items()}
            own |= {"sop": uid, "nbia_file": of_nbia[uid]}
            names[uid] = _component(self.file.format_map(fields | own))
        count = Counter(name.casefold() for name in names.values())
        for uid, name in names.items():
            if count[name.casefold()] > 1:
                names[uid] = f"{name[:60]}-{uid}"
        if len({name.casefold() for name in names.values()}) < len(names):
            return {}
        return {uid: f"{name}{_SUFFIX}" for uid, name in names.items()}

    def longest_path(self, series: Series) -> PurePosixPath:
        """A path that no image of `series` exceeds, relative to the collection's folder."""
        uid = "0" * MAX_UID
        names = self.file_names(series, {uid: _LONGEST}, _LONGEST_STUDY_ID)
        return self.folder(series, _LONGEST_STUDY_ID) / names.get(uid, f"{uid}{_SUFFIX}")


def _fields_of(template: str, known: Set[str]) -> set[str]:
    """The fields of a template.

    Raises:
        UsageError: one is unknown, or not in this part of the layout.
    """
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"the layout cannot be read: {error}") from error
    for _, name, spec, conversion in parsed:
        if name is None:
            continue
        if name not in known:
            raise _unknown_field(name, known)
        if conversion or (spec and not (name in _PADDED and _is_padding(spec))):
            raise UsageError(
                f"the layout's field {{{name}}} takes no such format or conversion",
                hint=f"zeros before a number are possible: {{instance_number:03}}; "
                f"for {_listed(_PADDED)}",
            )
    return {name for _, name, _, _ in parsed if name is not None}


def _unknown_field(name: str, known: Set[str]) -> UsageError:
    if name in FILE_FIELDS:
        return UsageError(
            f"the layout's field {{{name}}} is in the name of a folder",
            hint="it names files: end the layout in a file name, such as "
            "{series}/{instance_number:03}.dcm",
        )
    return UsageError(
        f"the layout has an unknown field {{{name}}}",
        hint=f"known fields: {', '.join(sorted(known))}",
    )


def _listed(names: frozenset[str]) -> str:
    *others, last = (f"{{{name}}}" for name in sorted(names))
    return f"{', '.join(others)} or {last}"


def _values(
    fields: Mapping[str, Callable[[Series, str], _Value]], series: Series, study_id: str
) -> dict[str, _Value]:
    return {name: value(series, study_id) for name, value in fields.items()}


@lru_cache(maxsize=16)
def _used_fields(template: str) -> dict[str, Callable[[Series, str], _Value]]:
    """The fields that a template uses: most use three of them."""
    return {name: FIELDS[name] for _, name, _, _ in string.Formatter().parse(template) if name}


def _parts(template: str, series: Series, study_id: str) -> list[str]:
    """The names of the folders, which may not be safe."""
    fields = _values(_used_fields(template), series, study_id)
    return [part.format_map(fields) for part in template.split("/") if part]


@lru_cache(maxsize=256)  # called five times per series
def _folders(template: str, series: Series, study_id: str) -> tuple[str, ...]:
    parts = _parts(template, series, study_id)
    names = [_component(part) for part in parts]
    first, last = (_component(f"{part[:60]}-{series.uid}") for part in (parts[0], parts[-1]))
    variants = (names, [*names[:-1], last], [first, *names[1:]])
    return tuple(dict.fromkeys(map("/".join, variants)))


def _component(part: str) -> str:
    """Keep a safe name; any other is made safe as a whole."""
    plain = part.strip(" .") or "_"
    return plain if _is_plain(plain) and not is_reserved(plain) else safe_name(plain)


def _readable(text: str | None) -> str:
    """Keep letters, digits and hyphens of a description; not unique."""
    words = "".join(c if c in _PLAIN else " " for c in (text or "")).split()
    return "_".join(words)[:_MAX_DESCRIPTION] or "NA"


def _of_nbia(text: str | None) -> str:
    """A description as NBIA gives it to its retriever, which cuts it."""
    return _not_of_nbia("", text or "")[:_MAX_DESCRIPTION] or "NA"


def _nbia_study(series: Series, study_id: str) -> str:
    date = _ISO_DATE.fullmatch(series.study_date or "")
    parts = (
        f"{date[2]}-{date[3]}-{date[1]}" if date else "NA",
        _of_nbia(study_id),
        _of_nbia(series.study_description),
        series.study[-_TAIL:],
    )
    return "-".join(parts)


def _nbia_series(series: Series, study_id: str) -> str:  # noqa: ARG001
    number = [] if series.number is None else [f"{series.number}.000000"]
    return "-".join([*number, _of_nbia(series.description), series.uid[-_TAIL:]])


def _nbia_files(images: Mapping[str, ImageAttributes | None]) -> dict[str, str]:
    """The names that NBIA gives the images of a series, such as `1-001`.

    The first number counts the changes of AcquisitionNumber along the InstanceNumbers, the second
    one the images since the last change. The second one has as many digits as the number of
    different InstanceNumbers. A missing number is 0. NBIA leaves equal InstanceNumbers in any
    order; here the SOPInstanceUID decides.
    """
    order = []
    for uid, attributes in images.items():
        known = attributes or _UNKNOWN
        order.append((int(known.number or 0), uid, int(known.acquisition or 0)))
    order.sort()
    acquisitions = [acquisition for _, _, acquisition in order]
    changes = sum(a != b for a, b in itertools.pairwise(acquisitions))
    width = len(str(1 + changes))
    digits = len(str(len({number for number, _, _ in order})))
    names: dict[str, str] = {}
    group, ordinal, previous = 1, 0, acquisitions[0] if order else 0
    for _, uid, acquisition in order:
        if acquisition != previous:
            group, ordinal, previous = group + 1, 0, acquisition
        ordinal += 1
        names[uid] = f"{group:0{width}}-{ordinal:0{digits}}"
    return names


FIELDS: Mapping[str, Callable[[Series, str], _Value]] = {
    "collection": lambda series, _: collection_folder(series.collection),
    "patient": lambda series, _: safe_name(series.patient),
    "study": lambda series, _: series.study,
    "series": lambda series, _: series.uid,
    "modality": lambda series, _: _readable(series.modality),
    "number": lambda series, _: _NA if series.number is None else series.number,
    "description": lambda series, _: _readable(series.description),
    "study_date": lambda series, _: _readable(series.study_date),
    "study_id": lambda _, study_id: _readable(study_id),
    "study_description": lambda series, _: _readable(series.study_description),
    "study_tail": lambda series, _: series.study[-_TAIL:].replace(".", "_"),
    "series_tail": lambda series, _: series.uid[-_TAIL:].replace(".", "_"),
    "nbia_study": _nbia_study,
    "nbia_series": _nbia_series,
}
"""The fields of templates, and their values, by series and StudyID."""
_NUMBERS: Mapping[str, Callable[[ImageAttributes], _Value]] = {
    "instance_number": lambda image: int(image.number) if image.number else _NA,
    "acquisition_number": lambda image: int(image.acquisition) if image.acquisition else _NA,
}
FILE_FIELDS = frozenset({*_NUMBERS, "sop", "nbia_file"})
"""The fields that only file names can have."""
_NAMES_SERIES = frozenset({"series", "series_tail", "nbia_series"})
_NAMES_IMAGE = frozenset({"sop", "instance_number", "nbia_file"})
_PADDED = frozenset({"number", *_NUMBERS})
_LONGEST = ImageAttributes(number="9" * 10, acquisition="9" * 10)
UID = Layout("{patient}/{study}/{series}")
DESCRIPTIVE = Layout(
    "{patient}/{study_date}-{study_description}-{study_tail}/"
    "{modality}-{number}-{description}-{series_tail}"
)
RETRIEVER = Layout("{patient}/{nbia_study}/{nbia_series}", "{nbia_file}")
RETRIEVER_CLASSIC = Layout("{patient}/{study}/{series}", "{nbia_file}")
NAMED = {
    "uid": UID,
    "descriptive": DESCRIPTIVE,
    "retriever": RETRIEVER,
    "retriever-classic": RETRIEVER_CLASSIC,
}
"""Layouts that have a name."""
_PLAIN_COLLECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()-]{0,62}[A-Za-z0-9)]")


def collection_folder(name: str) -> str:
    """Give the folder name of a collection: its own name where that is safe everywhere."""
    is_safe = _PLAIN_COLLECTION.fullmatch(name) and not is_reserved(name)
    return name if is_safe else safe_name(name)
