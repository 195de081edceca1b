"""Speed of training steps and runs."""
