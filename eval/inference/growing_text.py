"""A generated text while it grows: what of it can be shown, and whether a stop text ended it."""

from collections.abc import Sequence

import numpy as np

from lengthwise.data.store.tokenizers import Tokenizer
from lengthwise.eval.inference.continued_text import decode_behind

_CUT_CHARACTER = "\ufffd"  # what tokens of a character that isn't whole are decoded to


class GrowingText:
    """The text behind a prompt, up to the first of some stop texts.

    Attributes:
      tokens: int32 [n], all that were generated.
      text: what they add behind the prompt, before the first stop text.
      ended: whether the end of text or a stop text came.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: np.ndarray, stop: Sequence[str]):
        """prompt: int [n]."""
        self._tokenizer, self._prompt = tokenizer, prompt
        self._stop = [text for text in stop if text]
        self.tokens = np.zeros(0, np.int32)
        self.ended = False
        self.text, self._shown = "", 0

    def add(self, tokens: np.ndarray) -> str:
        """Adds tokens, int [m]; returns the text that they make certain.

        Held back are a character that isn't whole, and the beginning of a stop text.
        """
        self.tokens = np.concatenate([self.tokens, tokens])
        self.text = decode_behind(self._tokenizer, self._prompt, self.tokens)
        self.ended = bool(np.isin(self._tokenizer.end_of_text, self.tokens))
        stops = [self.text.find(stop) for stop in self._stop if stop in self.text]
        if stops:
            self.text, self.ended = self.text[: min(stops)], True
        certain = len(self.text)
        if not self.ended:
            certain = len(self.text.rstrip(_CUT_CHARACTER))
            certain = min([certain, *(self._beginning(stop) for stop in self._stop)])
        return self._show(certain)

    def rest(self) -> str:
        """What was held back to the end."""
        return self._show(len(self.text))

    def _beginning(self, stop: str) -> int:
        """Where the text ends in the beginning of `stop`; its length where it doesn't."""
        for size in range(min(len(stop) - 1, len(self.text)), 0, -1):
            if self.text.endswith(stop[:size]):
                return len(self.text) - size
        return len(self.text)

    def _show(self, end: int) -> str:
        shown, self._shown = self.text[self._shown : end], max(self._shown, end)
        return shown
