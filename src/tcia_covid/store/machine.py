"""The name of this machine, for what several machines may write to one folder."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    from socket import gethostname as machine_name
else:

    def machine_name() -> str:
        """The same as `socket.gethostname`, without the time that sockets take to import."""
        return os.uname().nodename


__all__ = ["machine_name"]
