"""Lock files: lists of series that also name the version of each series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tcia_covid.core.errors import FailureReason, ManifestError
from tcia_covid.core.models import Failure, Receipt, Series
from tcia_covid.selection.manifests.model import PINNED, Pin
from tcia_covid.selection.targets import Target

_WRITE = "'tcia-covid series TARGET --format csv > lock.csv' writes a lock file"
_HASH = PINNED["series_hash"]
"""The column that only lock files of a downloaded folder have."""
_NEEDED = {name: attribute for name, attribute in PINNED.items() if attribute != _HASH}


def merge_pins(targets: Iterable[Target]) -> Mapping[str, Pin]:
    """Return the version of each series that lock files name.

    Raises:
        ManifestError: two of them name different versions, or one has hashes of some series only.
    """
    locks = [target for target in targets if target.pins]
    for target in locks:
        _check_hashes(target)
    if len(locks) == 1:
        return locks[0].pins  # which takes less memory than a dictionary
    pins: dict[str, Pin] = {}
    files: dict[str, str] = {}
    for target in locks:
        for uid, pin in target.pins.items():
            if pins.setdefault(uid, pin) != pin:
                raise ManifestError(
                    f"{files[uid]} and {target.word} name different versions of series {uid}",
                    hint="use one of these lock files",
                )
            files.setdefault(uid, target.word)
    return pins


def _check_hashes(target: Target) -> None:
    """Refuse a file from which some hashes were removed: its series would not be compared."""
    without = [uid for uid, has_value in target.pins.attributes() if not has_value.get(_HASH)]
    if 0 < len(without) < len(target.pins):
        raise ManifestError(
            f"{target.word} has a series_hash of some series, and none of {len(without)}, such as "
            f"{without[0]}",
            hint="a lock file has all hashes or none: write it again",
        )


def check_frozen(targets: Iterable[Target]) -> None:
    """Check that lock files name the version of each requested series.

    Raises:
        ManifestError: a target is no lock file, or one with missing columns.
    """
    for target in targets:
        if target.unknown:
            what = f"{target.word} names {target.unknown[0].value}"
        elif target.collections:
            what = f"{target.word} is a collection"
        else:
            what = next(_series_without_version(target), "")
        if what:
            raise ManifestError(
                f"{what}, and --frozen needs the version of each series", hint=_WRITE
            )


def _series_without_version(target: Target) -> Iterator[str]:
    for uid, has_value in target.pins.attributes():
        if missing := [name for name, of in _NEEDED.items() if of not in has_value]:
            yield f"{target.word} has no {', '.join(missing)} of series {uid}"
    if len(target.pins) < len(target.uids):
        uid = next(uid for uid in target.uids if uid not in target.pins)
        yield f"{target.word} has no {', '.join(_NEEDED)} of series {uid}"


def freeze(listed: Iterable[Series], pins: Mapping[str, Pin]) -> tuple[list[Series], list[Failure]]:
    """Compare lists of archives with lock files.

    Returns:
        the series of which both name the same version, with their hashes, and a failure for each
        of the others.
    """
    same: list[Series] = []
    failures: list[Failure] = []
    for series in listed:
        pin = pins[series.uid]
        values = {attribute: (getattr(series, attribute),) for attribute in pin.keys() - {_HASH}}
        if differences := _differences(pin, values):
            failures.append(_changed(series, differences))
        else:
            md5 = pin.get(_HASH)
            same.append(replace(series, md5=None if md5 is None else str(md5)))
    return same, failures


def differences_on_disk(receipt: Receipt, pin: Pin) -> list[str]:
    """Compare a complete series with a lock file.

    An archive may record other bytes than it has, so its record counts as well.

    Returns:
        each difference in words.
    """
    listed = receipt.series
    values: dict[str, Sequence[object]] = {
        "image_count": (len(receipt.images), listed.image_count),
        "size": (receipt.size, listed.size),
        "crdc_uuid": (listed.crdc_uuid,),
    }
    if pin.get(_HASH) is not None:
        values[_HASH] = (receipt.md5,)
    return _differences(pin, values)


def pinned_columns(pins: Iterable[Pin]) -> list[str]:
    """Return the names of the columns that have a value in lock files."""
    attributes = {name for pin in pins for name, value in pin.items() if value is not None}
    return [name for name, attribute in PINNED.items() if attribute in attributes]


def _differences(pin: Pin, accepted: Mapping[str, Sequence[object]]) -> list[str]:
    """Describe the values of `pin` that are not accepted; the first accepted one is named."""
    return [
        f"{name} is {_shown(accepted[attribute][0])}, not {_shown(pin[attribute])}"
        for name, attribute in PINNED.items()
        if attribute in pin and attribute in accepted and pin[attribute] not in accepted[attribute]
    ]


def _shown(value: object) -> str:
    return "not known" if value is None else str(value)


def _changed(series: Series, differences: Sequence[str]) -> Failure:
    return Failure(
        series=series.uid,
        reason=FailureReason.CHANGED,
        detail=f"series {series.uid} is not the version in the lock file: {'; '.join(differences)}",
        hint="without --frozen the version that the archive has is downloaded",
    )
