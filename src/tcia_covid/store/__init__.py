"""The tree on disk: staging, commit, receipts, locks, recovery.

The invariant: a series folder is in the tree if and only if every image of it is there and
checked.
"""
