"""Benchmarks of the program and of the machine itself: `python -m tests.benchmarks`."""
