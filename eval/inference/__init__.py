"""Compiled inference: whole rows, chunks over a cache, generation."""
