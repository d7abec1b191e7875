"""A forward-only ZIP reader: bytes in, checked entries out."""
