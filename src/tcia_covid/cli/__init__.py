"""The command line, built on click."""
