"""The page of a run: losses, data, methods."""
