"""Benchmarks of the whole program beside what the machine can do: `python -m tests.benchmarks`."""
