"""Compiled training steps: blueprint, setup, how each bucket is executed."""
