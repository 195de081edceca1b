"""One training step: loss, optimizer, positions, checksums."""
