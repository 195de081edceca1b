"""Evaluation beyond the training length: losses, long-input tasks, answers, the report card.

`inference`, `losses`, `prompts`, `scoring`, `scorers`, `answers`, `statistics` and `card` compute;
`report` shows, and none of them imports it.

Invariants and decisions: docs/design.md#eval

Shapes, as suffixes of array names:

    N  units that are resampled: documents, prompts or samples of a task
    R  blocks of targets, or rows of tokens
    T  targets of a block
    K  tested lengths, contexts, or bins of positions
    J  bins that a law is fitted to
    G  clusters of near-duplicate documents
    S  bootstrap resamples
    D  places along a second axis: depths or distances; in packed rows: pieces of documents
    P  prompts, A  answers (parts) of a prompt
    B  rows of a device batch, L  tokens of a row, Q  tokens of a chunk
"""
