"""Scorers by name: each takes the ways to run a checkpoint and hands over curves."""
