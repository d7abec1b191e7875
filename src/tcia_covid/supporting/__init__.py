"""Clinical tables, annotations and manifests that belong to a collection."""
