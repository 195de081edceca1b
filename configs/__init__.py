"""Experiment configurations: `base.py` gathers every field, the others are short differences.

Invariants and decisions: docs/design.md#configs
"""
