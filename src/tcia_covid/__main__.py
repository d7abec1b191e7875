"""`python -m tcia_covid` is `tcia-covid`."""

from tcia_covid.cli.signals import main

main()
