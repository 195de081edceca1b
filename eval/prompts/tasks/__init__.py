"""Prompt tasks, registered by name; see docs/extend.md."""
