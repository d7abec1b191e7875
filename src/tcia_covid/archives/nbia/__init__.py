"""TCIA's NBIA server: its REST API v4 (or v1)."""
