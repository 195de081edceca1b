"""Scores beyond the training length, their statistics and the report.

Invariants and decisions: docs/design.md#eval
"""
