"""The public functions and their keywords."""
