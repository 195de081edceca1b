"""Bucket and rows of each step, as pure functions of (seed, step)."""
