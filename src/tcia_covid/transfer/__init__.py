"""One series from listing to commit, and the scheduler for many."""
