"""The page of the report card."""
