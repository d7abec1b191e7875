"""`python -m tcia_covid` is `tcia-covid`."""

from tcia_covid.cli import main

main()
