"""The training loop: start, state, logging, rollback, several seeds together."""
