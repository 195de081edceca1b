"""Optimizers by name, a file each; the contract is train/step/optimizer.py."""
