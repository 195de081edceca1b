"""The decoder: masks, positions, attention, transformer. Knows neither data nor training.

Names of arrays end with the letters of their dimensions:

    B  rows of a batch                  F  hidden channels of SwiGLU, or of an MLP
    L  tokens (columns) of a row        V  token ids of the vocabulary
    D  channels of the residual stream  N  tokens, or matrices, of a flattened batch
    H  query heads                      Q  queries, where they are not all L tokens
    K  key/value heads                  T  keys, where they are not all L tokens
    G  query heads a key/value head     S  slots of a cache
    C  channels of a head               I, J  blocks of queries, of keys

Invariants and decisions: docs/design.md#model
"""
