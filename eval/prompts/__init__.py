"""Tasks that ask about a long input, at exact lengths in tokens."""
