"""Claims about speed, one command each: `python -m lengthwise.benchmarks.ROOM.NAME`."""
