"""Attention: masks, biases, one entry point and its backends."""
