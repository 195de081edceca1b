"""Trackers by name, a file each; the contract is train/metrics/tracker.py."""
