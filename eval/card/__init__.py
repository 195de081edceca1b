"""The report card as data: judgements of curves, and paired comparisons of runs."""
