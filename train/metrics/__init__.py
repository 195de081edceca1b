"""Rows of metrics, goodput, profiles."""
