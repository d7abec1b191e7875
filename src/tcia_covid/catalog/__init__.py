"""Known without an archive: collections, their series, citations."""
