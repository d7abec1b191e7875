"""TCIA's NBIA server, through its REST API v4 (or v1)."""
