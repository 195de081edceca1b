"""The command line, see `python main.py --help` and app/cli.py."""

from lengthwise.app import cli

if __name__ == "__main__":
    cli.entry()
