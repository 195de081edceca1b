"""Writes docs/claims.md and its picture from the list of claims and all stored results."""

from lengthwise.app.command import shell
from lengthwise.common.files import atomic_write
from lengthwise.experiments.claims.page import PAGE, PICTURE, StoredResults, page, picture
from lengthwise.experiments.page import DOCS


def main() -> int:
    """Writes page and picture; returns the exit status."""
    evidence = StoredResults(DOCS)
    atomic_write(DOCS / PAGE, [page(evidence).encode()])
    print(DOCS / PAGE)
    if (drawn := picture(evidence)) is not None:
        atomic_write(DOCS / PICTURE, [drawn])
        print(DOCS / PICTURE)
    return 0


if __name__ == "__main__":
    shell.run_command(main)
