"""Reproductions of published findings: grids of trials on tasks, and the rule that judges them.

Definitions (`definition`, `definitions/`) are run as trials (`run`, `trials`, `trial_results`),
measured and judged (`measures`, `verdict`, `variance`, `results`) and shown (`tables`, `picture`,
`page`). Letters: S seeds, K tested lengths; crossed designs have I initializations, J data orders.

Invariants and decisions: docs/design.md#experiments
"""
