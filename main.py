"""The command line, see `python main.py --help` and app/command/cli.py."""

from lengthwise.__main__ import main

if __name__ == "__main__":
    main()
