"""Runs a command and records its time and memory; run as a script, by a Python without extras.

`python -I -S resource_usage.py RESULT COMMAND...`. A process of its own, because the peak memory of
a child includes that of the process which it was forked from: this one is smaller than any other
Python program.
"""

import os
import sys
import time


def main() -> None:
    result, command = sys.argv[1], sys.argv[2:]
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.execvp(command[0], command)
    _, status, used = os.wait4(child, 0)
    wall = time.monotonic() - began
    figures = (wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, used.ru_minflt)
    with open(result, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib is large
        file.write(" ".join(str(figure) for figure in figures))
    sys.exit(os.waitstatus_to_exitcode(status))


main()
