"""The functions of the commands: each has a module of its name with a function `command`."""
