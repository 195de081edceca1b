"""The page of claims: what users come with, and what was measured of it (docs/claims.md)."""
