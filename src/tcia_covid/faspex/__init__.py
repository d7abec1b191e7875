"""Receiving IBM Aspera Faspex packages with `ascli`, an existing transfer engine.

`ascli` is the command of the Ruby gem aspera-cli (https://github.com/IBM/aspera-cli), Apache 2.0.
"""

from tcia_covid.faspex.package import Package
from tcia_covid.faspex.tool import find_ascli, install_commands, receive_command
from tcia_covid.faspex.transfer import Transfer

__all__ = ["Package", "Transfer", "find_ascli", "install_commands", "receive_command"]
