"""A urllib3 that is too old is named before it does harm."""

from __future__ import annotations

import pytest

from tcia_covid.core.errors import ConfigError
from tcia_covid.http.connection import check_urllib3


@pytest.mark.parametrize("installed", ["1.26.20", "2.0.7", "2.2.2"])
def test_an_old_urllib3_is_refused(installed: str) -> None:
    with pytest.raises(ConfigError, match=f"urllib3 {installed} is installed"):
        check_urllib3(installed)


@pytest.mark.parametrize("installed", ["2.2.3", "2.8.0", "3.0", "2.3.0.dev1"])
def test_a_newer_urllib3_will_do(installed: str) -> None:
    check_urllib3(installed)
