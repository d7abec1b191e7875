"""Errors: the suggestions of their hints."""

from __future__ import annotations

import pytest

from tcia_covid.core.errors import did_you_mean, suggest

KNOWN = ["download", "doctor", "COVID-19-AR"]


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [
        ("downlaod", "did you mean 'download'?"),
        ("DOWNLOD", "did you mean 'download'?"),
        ("covid19ar", "did you mean 'COVID-19-AR'?"),
        ("xyzzy", ""),
        ("", ""),
    ],
)
def test_the_closest_name_is_suggested_in_its_own_spelling(word: str, suggestion: str) -> None:
    assert did_you_mean(word, KNOWN) == suggestion


def test_a_higher_cutoff_suggests_only_closer_names() -> None:
    assert did_you_mean("docs", KNOWN, cutoff=0.5)
    assert not did_you_mean("docs", KNOWN, cutoff=0.7)


def test_several_names_are_alternatives() -> None:
    assert suggest([]) == ""
    assert suggest(["a"]) == "did you mean 'a'?"
    assert suggest(["a", "b", "c"]) == "did you mean 'a', 'b' or 'c'?"
