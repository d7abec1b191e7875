"""Where series come from; `base` is the protocol that every archive implements."""
