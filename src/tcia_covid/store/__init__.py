"""The tree on disk: staging, commit, receipts, locks, recovery.

The invariant: a series folder is in the tree if and only if all its images are there and checked.
"""
