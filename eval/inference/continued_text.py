"""Text behind other text, in tokens and back: decode(a + b) need not be decode(a) + decode(b).

Tokenizers like SentencePiece's put the space before a word into its token, add one to the first
word of a text, and take it away where they decode the first token. Characters may be split over
tokens, and decoders tidy spaces up. What stands behind other text is encoded and decoded with it.
"""

import itertools

import numpy as np

from lengthwise.data.store.tokenizers import Tokenizer

# Text that another one is encoded behind, until its tokens are those of its own text.
_ANCHORS = ("\n", ".", "a", "0")


def decode_behind(tokenizer: Tokenizer, prefix: np.ndarray, tokens: np.ndarray) -> str:
    """Text that `tokens`, int [m], add behind those of a prefix, int [n]."""
    before = tokenizer.decode(prefix)
    whole = tokenizer.decode(np.concatenate([prefix, tokens]))
    # A prefix that ends inside of a character decodes to another one there.
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, whole, strict=False))
    return whole[sum(1 for _ in same) :]


def encode_behind(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """Tokens, int [n], that add `text` as it is behind any other: no space that isn't its own."""
    for anchor in _ANCHORS:
        alone, before, whole = tokenizer.encode_batch([text, anchor, anchor + text])
        joined = np.concatenate([before, alone])
        if np.array_equal(joined, whole) or tokenizer.decode(joined) == tokenizer.decode(whole):
            return alone
        if np.array_equal(whole[: before.size], before):
            return whole[before.size :]
    return alone


def encode_pair(
    tokenizer: Tokenizer, context: str, continuation: str
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Tokens of a context and of a continuation, and whether they are those of the whole text.

    They aren't where tokens of the whole text reach over the border, such as "gagg" of "gag" and
    "g": the continuation is encoded by itself then. Blanks that end the context go to the
    continuation, whose first word they belong to.
    """
    stripped = context.rstrip()
    continuation = context[len(stripped) :] + continuation
    before, whole = tokenizer.encode_batch([stripped, stripped + continuation])
    if whole.size > before.size and np.array_equal(whole[: before.size], before):
        return before, whole[before.size :], True
    return before, encode_behind(tokenizer, continuation), False
