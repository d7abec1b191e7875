"""Stand-ins that run on loopback: the archive, its faults, the wire, synthetic images."""
