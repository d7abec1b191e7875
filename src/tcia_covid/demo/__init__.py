"""A local NBIA-like server over pydicom's own files, and a guided walkthrough."""
