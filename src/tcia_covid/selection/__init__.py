"""What a user asks for, as a list of series."""
