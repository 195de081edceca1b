"""Position schemes, a file a family."""
