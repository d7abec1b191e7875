"""A small archive on loopback that answers as TCIA's NBIA does, over pydicom's own files."""
