"""The command line: verbs that parse, call and present."""

from tcia_covid.cli.process import main

__all__ = ["main"]
