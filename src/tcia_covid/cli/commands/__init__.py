"""One module per command, with the function `command` that runs it."""
