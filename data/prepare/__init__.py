"""Builds a token store from sources: scan, near-duplicates, tokenization, contamination."""
