"""Learned positions of which each row begins at a random one (Zhou et al. 2023, 2310.16028)."""

from lengthwise.experiments.definition import Changes


def shifted(positions: int) -> Changes:
    """positions: rows of the table; at least as many as the longest tested sample has tokens."""
    return {
        "model.positions.scheme": "learned",
        "model.positions.learned.positions": positions,
        "phase.positions.kind": "shift",
        "phase.positions.target_length": positions,
    }
