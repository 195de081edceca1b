"""The token before a text that nothing stands before: one decision for all scores and generation.

A document of the store may begin with a token of its own (data.begin_with): prompts and scored
texts do so too then. Otherwise texts begin as they are, and where a model needs a token before the
first one it is the end of text. That was an input of the training only where rows join documents
without a document mask; elsewhere a model knows nothing behind it.
"""

from dataclasses import dataclass

import numpy as np

UNTRAINED = (
    "the end of text was never an input in training; data.begin_with=end_of_text makes it one"
)


@dataclass(frozen=True)
class StartToken:
    """The token that a text without others before it stands behind."""

    id: int
    stored: bool  # documents of the store begin with it
    trained: bool  # an input of the training, whose target is the first token of a document

    @classmethod
    def of(cls, begin_of_text: int | None, end_of_text: int, joined: bool) -> "StartToken":
        """Decides it.

        Args:
          begin_of_text: the first token of each document; None: that of its text.
          joined: rows of the training held several documents without a document mask.
        """
        if begin_of_text is not None:
            return cls(begin_of_text, stored=True, trained=True)
        return cls(end_of_text, stored=False, trained=joined)

    @property
    def prefix(self) -> np.ndarray:
        """What every prompt begins with, int32 [1], or [0] where documents have no such token."""
        return np.array([self.id] if self.stored else [], np.int32)

    def before(self, tokens: np.ndarray) -> np.ndarray:
        """A prompt of at least one token, int32 [n]: behind `prefix`, or a start token alone."""
        prompt = np.concatenate([self.prefix, tokens]).astype(np.int32)
        return prompt if prompt.size else np.array([self.id], np.int32)
