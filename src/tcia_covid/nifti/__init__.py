"""The NIfTI collection: volumes that are downloaded as Aspera packages."""
