"""Where series come from: one module an archive, all behind the protocol of `base`."""
