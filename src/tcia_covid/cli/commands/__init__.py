"""The commands: each has a module of its name, which is imported when the command is used."""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, Mapping[str, str]] = {
    "Find": {
        "list": "List the known collections with size, license and sources.",
        "info": "Show details of one COLLECTION.",
        "series": "List the series that TARGET and the filters select.",
        "plan": "Show what 'download' would do, without doing it.",
    },
    "Get": {
        "download": "Download what TARGET names, complete and checked.",
        "adopt": "Import DICOM files that you already have in DIR.",
    },
    "Check": {
        "status": "Show what is complete, running or failed in DIR, and why.",
        "verify": "Re-check every file in DIR against its recorded MD5.",
    },
    "Use": {
        "cite": "Print the citations that users of TARGET must give.",
    },
    "Set up": {
        "demo": "Try a download in seconds, without a network.",
    },
}
"""The groups in help texts, and the one-line help of each command; its module has a `command`."""
