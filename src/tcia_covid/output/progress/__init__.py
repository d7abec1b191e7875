"""Progress display: bars on a terminal, otherwise plain lines."""
