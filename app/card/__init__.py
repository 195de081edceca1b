"""A card of any model: from a folder of weights, or from a Python function of tokens."""
