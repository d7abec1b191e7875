"""Files beside a collection's images: metadata, hashes, license, citation."""
