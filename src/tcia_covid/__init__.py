"""Download The Cancer Imaging Archive's COVID-19 collections: complete, checked, resumable."""

__version__ = "0.1.0"
