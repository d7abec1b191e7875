"""Re-check the files of a download against their receipts and the archive."""
