"""What every room uses: the user-facing error, atomic file writes, the number of cores."""
