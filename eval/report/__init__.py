"""The pages: report of a run, report card, report of a task."""
