"""Writes docs/claims.md from the list of claims and all stored results."""

from lengthwise.app.command import shell
from lengthwise.common.files import atomic_write
from lengthwise.experiments.claims.page import PAGE, page
from lengthwise.experiments.page import DOCS


def main() -> int:
    """Writes the page; returns the exit status."""
    atomic_write(DOCS / PAGE, [page(DOCS).encode()])
    print(DOCS / PAGE)
    return 0


if __name__ == "__main__":
    shell.run_command(main)
