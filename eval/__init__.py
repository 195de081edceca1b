"""Scores beyond the training length, their statistics and the report."""
