"""Kinds of bad input, one file each."""
