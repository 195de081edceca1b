"""Runs from outside: their start, kills, and inputs that are not what they should be."""
