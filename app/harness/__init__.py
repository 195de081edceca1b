"""lm-evaluation-harness on a checkpoint."""
