"""Curricula: a file each, or a family of them.

Those of Pouransari et al. (arXiv 2405.13226, Algorithm 1 and table 4), and two plain ones.
"""
