"""Stopping scores by name, a file each; the contract is train/rules/score.py."""
