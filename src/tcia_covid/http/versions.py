"""What this package needs of urllib3, which requests brings along in older versions, too."""

from __future__ import annotations

import urllib3

from tcia_covid.errors import ConfigError

_NEEDED = (2, 2, 3)
"""Older ones do not tell a short body from a whole one, or leak sockets when a proxy fails."""


def check_urllib3(installed: str | None = None) -> None:
    """See that urllib3 is new enough.

    Raises:
        ConfigError: it is not.
    """
    installed = installed or str(urllib3.__version__)  # type: ignore[attr-defined]
    numbers = tuple(int(part) for part in installed.split(".")[:3] if part.isdigit())
    if numbers < _NEEDED:
        needed = ".".join(map(str, _NEEDED))
        raise ConfigError(
            f"urllib3 {installed} is installed, {needed} or newer is needed",
            hint="pip install --upgrade urllib3",
        )
