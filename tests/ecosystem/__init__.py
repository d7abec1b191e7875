"""Recipes of docs/using-the-data.md, run with the real programs that they are about."""
