"""Rules that intervene in a run: anomalies, skipped data, early stopping."""
