"""What holds where nobody says otherwise: every verb's options show it."""

DEFAULT_OUTPUT = "tcia-data"
"""The folder, below the current one, that takes what is downloaded."""
