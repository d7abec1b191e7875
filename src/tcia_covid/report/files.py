"""What the files beside a collection's images are called."""

METADATA = "metadata.csv"
MANIFEST = "manifest-md5.txt"
LICENCE = "LICENSE.txt"
CITATION = "CITATION.bib"
REPORT_FILES = (METADATA, MANIFEST, LICENCE, CITATION)
