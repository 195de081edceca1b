"""The training loop: start, state, restoring, logging."""
