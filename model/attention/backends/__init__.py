"""Attention backends: one file each, and one table of their capabilities."""
