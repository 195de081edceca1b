"""Speed of attention, masks and collectives."""
