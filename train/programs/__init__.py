"""Compiled training steps: executions, blueprint, setup, one run or several stacked."""
