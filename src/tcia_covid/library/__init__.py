"""The same from Python: what `tcia_covid.download` and its like are.

The main jobs are plain functions over plain values, which never print, exit or log. Each has a
module of its own, which the package imports when it is first used: the jobs share little.
"""
