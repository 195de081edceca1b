"""Pages: report of a run on text or on a task, report card."""
