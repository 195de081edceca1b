"""Experiments by name: grids of runs on tasks, judged by a rule that is stated beforehand."""
