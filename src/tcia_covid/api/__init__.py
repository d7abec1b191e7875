"""The package from Python: the functions and their keywords."""
