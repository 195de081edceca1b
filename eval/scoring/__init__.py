"""Scoring of checkpoints by scorers and prompts: the bench, the factory, scores in training."""
