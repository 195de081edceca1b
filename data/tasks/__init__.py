"""Algorithmic tasks: problems of any length with exact answers, in several formats."""
