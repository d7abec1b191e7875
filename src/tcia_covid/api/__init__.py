"""The Python interface: what `tcia_covid.download` and its siblings are."""
