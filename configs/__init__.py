"""Experiment configurations: `base.py` holds every field, the others are short differences.

Invariants and decisions: docs/design.md#configs
"""
