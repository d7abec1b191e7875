"""What is known without asking an archive: collections, their series, citations."""
