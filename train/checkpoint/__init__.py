"""Checkpoints with checksums; starting from other weights."""
