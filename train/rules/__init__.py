"""Rules that change a run: anomalies, skipped data, early stopping."""
