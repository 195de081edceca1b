"""`python -m lengthwise`, as `python main.py`, from any folder."""

from lengthwise.app.command import cli

cli.entry()
