"""Settings that make no sense are refused where they are made."""

from __future__ import annotations

import pytest

from tcia_covid.core.errors import UsageError
from tcia_covid.http.settings import HttpSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connect_timeout", 0),
        ("first_byte_timeout", -1),
        ("stall_timeout", float("nan")),
        ("stall_timeout", float("inf")),
        ("max_rate", 0),
        ("min_rate", -1),
        ("retries", -1),
        ("retry_wait", 1e12),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=name.replace("_", "-")):
        HttpSettings(**{name: value})


def test_settings_may_forbid_retries_pauses_and_the_minimum_rate() -> None:
    HttpSettings(retries=0, retry_wait=0, retry_wait_cap=0, retry_after_cap=0, min_rate=0)
