"""What a user requests, as a list of series."""
