"""NBIA's lists: what is read, what is refused, and at what cost."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from tcia_covid.archives.nbia.archive import read_rows, read_series, series_of
from tcia_covid.core.errors import BadResponseError
from tests.benchmarks.series_lists import pieces

ROW = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "PatientID": "P"}


class Body:
    """A response whose body has arrived."""

    url = "http://archive.example/getSeries"

    def __init__(self, body: str, piece: int = 100_000) -> None:
        self.body = body.encode()
        self.piece = piece

    def chunks(self, limit: int) -> Iterator[bytes]:
        assert len(self.body) <= limit
        for start in range(0, len(self.body), self.piece):
            yield self.body[start : start + self.piece]


def rows(text: str, piece: int = 100_000) -> list[Any]:
    body: Any = Body(text, piece)
    return list(read_rows(body))


LISTS = {
    "[]": [],
    " [ \n ] ": [],
    "": [],
    "[{}]": [{}],
    "\ufeff[{}]": [{}],
    '[{"a": [1, {"b": "]"}]} , {"a":null}\n]\n': [{"a": [1, {"b": "]"}]}, {"a": None}],
    '[{"a":"x\\/y"},{}]': [{"a": "x/y"}, {}],
}


@pytest.mark.parametrize("text", LISTS)
def test_a_list_is_read_as_json_means_it(text: str) -> None:
    assert (
        rows(text)
        == rows(text, 1)
        == LISTS[text]
        == (json.loads(text.lstrip("\ufeff")) if text else [])
    )


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "null", "1", '"[]"', "[", "]", "[[]]", "[1]", "[{}", "[{},", "[{},]", "[,{}]"),
        *("[{}{}]", "[{}][]", "[{}[]]", "[{},,{}]", "[{}]x", '[{"a":"]', "[{}, ]", "[null]"),
    ],
)
def test_what_is_no_list_of_objects_is_refused(text: str) -> None:
    with pytest.raises(BadResponseError, match="not the requested list") as caught:
        rows(text)
    assert caught.value.retryable


@pytest.mark.parametrize("bad", ["[]", "{}", '{"x":1}', "1e9"])
def test_a_hostile_list_takes_little_memory(bad: str) -> None:
    text = f'[{json.dumps(ROW)},{{"x":[{",".join([bad] * 1_000_000)}]}}]'
    body: Any = Body(text)
    tracemalloc.start()
    try:
        with pytest.raises(BadResponseError):
            read_series(body)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(text)
    finally:
        tracemalloc.stop()


def test_a_long_list_is_read_completely_in_pieces_of_any_size() -> None:
    expected = [{"n": number, "text": "\u00e9" * (number % 500)} for number in range(1000)]
    text = json.dumps(expected, ensure_ascii=False, indent=1)
    assert rows(text) == rows(text, 777) == rows(text, 10**9) == expected
    for cut in (len(text) - 1, len(text) // 2):
        with pytest.raises(BadResponseError):
            rows(text[:cut])
    with pytest.raises(BadResponseError):
        rows(text + " " * 100_000 + "x")


def traced(text: str) -> tuple[int, int, int]:
    """Read a list: its series, the bytes that they keep, and the peak."""
    body: Any = Body(text)
    tracemalloc.start()
    try:
        series = read_series(body)
        return len(series), *tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def test_a_list_of_many_series_takes_little_memory() -> None:
    count = 3_000
    text = b"".join(pieces(count)).decode()
    # What threads of other tests allocate meanwhile counts as well: the least is what it takes.
    numbers, kept, peak = zip(*(traced(text) for _ in range(3)), strict=True)
    assert set(numbers) == {count}
    assert min(kept) < 380 * count
    assert min(peak) < 600 * count


def test_half_a_character_is_replaced() -> None:
    row = json.loads(
        r'{"PatientID": "a\ud800", "SeriesDescription": "\udc00", "Modality": "\ud800\udc00"}'
    )
    series = series_of({**ROW, **row})
    assert series is not None
    assert (series.patient, series.description, series.modality) == (
        "a\ufffd",
        "\ufffd",
        "\U00010000",
    )


@pytest.mark.parametrize(
    ("listed", "number"),
    [
        *((3, 3), ("3", 3), ("3.000000", 3), (3.0, 3), (" 3 ", 3), ("1e3", 1000)),
        *((0, None), ("0.000000", None), (1e300, None), (10**15, None), ("9" * 5000, None)),
        *((None, None), ("", None), ("many", None), (-1, None), (float("nan"), None)),
        *((float("inf"), None), ([3], None), (True, None)),
    ],
)
def test_counts_are_read_in_every_spelling(listed: object, number: int | None) -> None:
    series = series_of({**ROW, "ImageCount": listed})
    assert series is not None
    assert series.image_count == number


@pytest.mark.parametrize(
    ("listed", "date"),
    [
        ("08-02-2002", "2002-08-02"),
        ("2002-08-02 00:00:00.0", "2002-08-02"),
        ("2002-08-02", "2002-08-02"),
        *((None, None), ("", None), ("2.8.2002", None), (1030000000000, None)),
    ],
)
def test_dates_of_both_generations_are_iso(listed: object, date: str | None) -> None:
    series = series_of({**ROW, "SeriesDate": listed})
    assert series is not None
    assert series.date == date


def test_sex_and_age_of_a_patient_are_read() -> None:
    series = series_of({**ROW, "PatientSex": "F", "PatientAge": " 064Y "})
    assert series is not None
    assert (series.patient_sex, series.patient_age) == ("F", "064Y")
