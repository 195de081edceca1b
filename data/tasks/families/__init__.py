"""The algorithmic tasks, one family a file."""
