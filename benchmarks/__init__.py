"""Claims about speed, each one command: `python -m lengthwise.benchmarks.NAME`."""
