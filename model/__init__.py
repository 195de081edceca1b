"""The decoder: masks, positions, attention, transformer. Knows neither data nor training."""
