"""Optimization: the loop, the compiled step of each bucket, checkpoints, metrics."""
