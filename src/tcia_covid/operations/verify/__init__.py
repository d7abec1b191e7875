"""Re-check every file of a tree against its receipt, and online its archive."""
