"""Trackers by name, a file each; the contract is train/tracking/tracker.py."""
