"""Scorers by name: each scores the methods of running a checkpoint, and returns curves."""
