"""The ways to compute attention: one file each, and one table of what each can serve."""
