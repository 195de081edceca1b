"""The page of a run on a task."""
