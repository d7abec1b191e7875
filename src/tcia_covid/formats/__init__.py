"""Readers of file formats; they know nothing of this program."""
