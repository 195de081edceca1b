"""`python -m lengthwise`, as `python main.py`, from any folder."""

import sys

from lengthwise.train.machine.meeting import early_meeting


def main() -> None:
    """Runs the command of sys.argv and exits."""
    with early_meeting(sys.argv) as meeting:
        from lengthwise.app.command import cli

        cli.entry(meeting)


if __name__ == "__main__":
    main()
