"""Readers of file formats; they do not depend on the rest of this program."""
