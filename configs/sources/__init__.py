"""`configs/bytes.py` on a corpus of your own, an example a kind of source; see docs/data.md."""
