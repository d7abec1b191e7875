"""What people and programs see: progress, event log, JSON documents, tables."""
