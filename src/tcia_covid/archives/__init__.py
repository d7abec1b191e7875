"""The archives; `base` is the protocol that all of them implement."""
