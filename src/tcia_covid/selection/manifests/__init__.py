"""Manifests: lists of series in files of many formats, read and written."""
