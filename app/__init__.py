"""The application: the command line, the modes, and one run of training or scoring.

Invariants and decisions: docs/design.md#app
"""
