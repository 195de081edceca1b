"""Experiments on text: one grid of runs, stored row by row, and the claims that it decides.

A grid (`design`) has arms, differences from one base config, and questions with claims about them.
Rates and pilots come first; they give the plan (`plan`), which is committed before a run that
counts. Finished runs leave one row each (`row`, `work_directory`), from which claims take one value
a seed (`measures`), judged by the rule of `experiments.statistics.verdict` (`verdicts`).

Letters: S seeds.

Invariants and decisions: docs/design.md#experiments
"""
