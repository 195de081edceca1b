"""Documents of a token store as a Grain random-access source, for other trainers."""

import numpy as np

from lengthwise.data.store.splits import Split
from lengthwise.data.store.token_store import TokenStore


class DocumentTokens:
    """The documents of one split in the order of the corpus: `len` and indexing.

    An item is int [n], the document's tokens, its end of text included.
    """

    def __init__(self, store: TokenStore, split: Split = Split.TRAIN):
        self._store = store
        self._ids = np.flatnonzero(store.document_splits[:] == split)

    def __len__(self) -> int:
        return self._ids.size

    def __getitem__(self, index: int) -> np.ndarray:
        start, end = self._store.document_offsets[self._ids[index] :][:2].tolist()
        return self._store.read(start, end - start)
