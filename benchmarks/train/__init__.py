"""Speed of training steps and runs; what kills survive."""
