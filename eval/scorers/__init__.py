"""Scorers, a file each; see docs/extend.md."""
