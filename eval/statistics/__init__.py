"""Curves, bootstrap intervals, verdicts, reach."""
