"""The files that stand beside a collection's images: metadata, hashes, licence, citation."""
