"""Scores of tasks: whether answers are right, by length, in range and beyond."""
