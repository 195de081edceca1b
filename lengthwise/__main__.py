"""`python -m lengthwise`, as `python main.py`, from any folder."""

from lengthwise.app import cli

cli.entry()
