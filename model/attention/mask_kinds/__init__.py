"""Kinds of attention masks that layers may have: a file each."""
