"""The command line, see `python main.py --help` and app/command/cli.py."""

from lengthwise.app.command import cli

if __name__ == "__main__":
    cli.entry()
