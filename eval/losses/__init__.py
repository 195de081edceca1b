"""Losses on text: same-target context gain, NLL by position, boundary loss, RoPE scalings."""
