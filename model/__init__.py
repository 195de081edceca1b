"""The decoder: masks, positions, attention, transformer. Knows neither data nor training.

Invariants and decisions: docs/design.md#model
"""
