"""Trackers: where a run can be followed beside its metrics.jsonl."""
