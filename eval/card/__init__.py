"""The report card: what the curves of one or several checkpoints say, on one page."""
