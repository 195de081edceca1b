"""The layouts: one class a file."""
