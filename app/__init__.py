"""Application: the command line, its modes, one run of training and scoring.

Invariants and decisions: docs/design.md#app
"""
