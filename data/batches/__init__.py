"""Device batches: assembly of rows, the Grain pipeline, staging on local disk."""
