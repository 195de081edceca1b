"""What guessing comes to: the best answer that doesn't look at its prompt."""

import numpy as np

from lengthwise.data.tasks.samples import Documents
from lengthwise.data.tasks.sequences import NONE, same, squeeze


def constant_guess(seen: Documents, asked: Documents) -> float:
    """Share of `asked` whose whole answer is the most frequent one of `seen`.

    The two are independent samples of one length, so that the share is not that of a guess which
    was chosen after the fact. 0 where answers hardly ever repeat.
    """
    answers, counts = np.unique(_answers(seen), axis=0, return_counts=True)
    right = _answers(asked)
    guess = np.tile(answers[counts.argmax()], (len(right), 1))
    return float(same(guess, right).mean())


def _answers(documents: Documents) -> np.ndarray:
    """Answers with their ends, left-aligned; int32 [N, V]."""
    tokens = documents.tokens
    return squeeze(np.where(np.arange(tokens.shape[1]) >= documents.prompt[:, None], tokens, NONE))
