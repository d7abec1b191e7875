"""HTTP for downloads: bounded waits, one retry policy, adaptive concurrency."""
