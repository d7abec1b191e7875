"""Sizes, counts and durations, as people write and read them."""

from __future__ import annotations

import pytest

from tcia_covid.core.errors import UsageError
from tcia_covid.core.units import count, format_duration, format_size, parse_rate, parse_size, verb


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000", 1000), ("0", 0), ("7 B", 7), ("20GB", 20 * 10**9), ("20 gb", 20 * 10**9),
        ("20G", 20 * 10**9), ("1.5 TiB", 3 * 2**39), ("1.5tib", 3 * 2**39), ("1Gi", 2**30),
        ("500MB", 500 * 10**6), ("64k", 64_000), ("0.1 kB", 100), (" 2PB ", 2 * 10**15),
        ("1.", 1), ("1.0000001MB", 1_000_000), ("999999999999999999", 999_999_999_999_999_999),
    ],
)  # fmt: skip
def test_a_size_is_parsed_exactly(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "GB", "-1GB", "1,5GB", "1e9", "20 XB", "20GBs", "1 iB", "nan", "٣GB", "1 G B", "9" * 5000],
)
def test_invalid_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size") as raised:
        parse_size(text)
    assert "20GB" in raised.value.hint


@pytest.mark.parametrize(
    ("text", "rate"),
    [("50MB", 50_000_000), ("50 MB/s", 50_000_000), ("5B", 5), ("1KiB", 1024), ("0", 0)],
)
def test_a_rate_is_a_size_with_its_unit(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["5", " 5 ", "5/s", "1.5"])
def test_a_rate_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="has no unit") as raised:
        parse_rate(text)
    assert f"write {text.strip().removesuffix('/s')}MB" in raised.value.hint


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"),
        (19_927_664_950, "19.9 GB"), (511_477_801_000, "511.5 GB"), (2 * 10**12, "2.0 TB"),
        (5 * 10**18, "5000.0 PB"),
    ],
)  # fmt: skip
def test_a_size_is_shown_in_the_units_of_the_archives(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.4, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"),
        (11_520, "3 h 12 min"), (11_559, "3 h 12 min"), (3605, "1 h"), (90_000, "1 d 1 h"),
        (10**9, "11574 d 1 h"),
    ],
)  # fmt: skip
def test_a_duration_is_shown_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "noun", "expected"),
    [(1, "image", "1 image"), (2464, "image", "2,464 images"), (2, "series", "2 series")],
)
def test_counts_have_a_noun(value: int, noun: str, expected: str) -> None:
    assert count(value, noun) == expected


def test_a_verb_agrees_with_its_number() -> None:
    assert [verb(number) for number in (0, 1, 2)] == ["are", "is", "are"]
