"""Checkpoints verified by checksums; initial weights from another run."""
