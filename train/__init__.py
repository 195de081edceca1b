"""Training: one compiled step a bucket, the loop around it, checkpoints, metrics.

Read `loop/start.py` (what a run does, in order), `loop/loop.py` (one step after the other) and
`step/update.py` (the step as a pure function).

Shape legend, as suffixes of names:

    B  rows of the global batch          S  runs trained in lockstep (seeds)
    L  tokens of a row (the bucket)      P  processes
    N  steps in a window                 2  loss and gradient norm

Invariants and decisions: docs/design.md#train
"""
