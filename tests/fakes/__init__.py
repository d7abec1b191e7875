"""Fakes that run on loopback: archives and their faults, a TCP proxy, synthetic images."""
