"""Parts of methods, by what they change: frequencies, masks, distances, queries."""
