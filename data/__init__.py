"""From sources to batches on the host: sources > store > layouts > schedule > batches.

Shapes and letters, in all of data/:

    N  documents (of a store, a split, a cell); in tasks/: samples
    L  length of a bucket: columns of its rows, tokens (L + 1 tokens give L inputs and L targets)
    K  buckets of a layout, ascending in length; in an Exposure: bins of contexts
    B  rows of a batch, all processes together: B * L = tokens_per_step
    R  rows of a read, or of a process; W columns of a process (in tasks/: width of padded samples)
    P  pieces: token ranges of single documents, of which rows consist
    G  groups: ranges of row ids of one block and stratum

Token positions are global, int64, from the start of the store. Ids of documents, rows and blocks
ascend with the store.

Invariants and decisions: docs/design.md#data
"""
