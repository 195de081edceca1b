"""Statistics over training seeds: the decision rule, variance components, power, survival times.

Letters: S seeds, K tested lengths; crossed designs have I initializations, J data orders.
"""
