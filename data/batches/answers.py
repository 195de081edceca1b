"""Masking of the targets outside the answers of a task's samples."""

import numpy as np

from lengthwise.data.tasks.symbols import ANSWER, END, SEPARATOR

NO_TARGET = -1


def answers_only(inputs: np.ndarray, targets: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Replaces targets outside of answers by NO_TARGET; all int32 [R, L], whole rows.

    An answer begins behind ANSWER and ends with END or SEPARATOR, which are targets too. What
    stands before the first ANSWER of a document, or of a piece of one, is no answer.
    """
    mark = np.isin(inputs, (ANSWER, END, SEPARATOR)) | (positions == 0)
    columns = np.where(mark, np.arange(inputs.shape[1]), 0)
    last = np.maximum.accumulate(columns, axis=1)  # mark at or before each input
    inside = np.take_along_axis(inputs, last, axis=1) == ANSWER
    return np.where(inside, targets, NO_TARGET).astype(np.int32)
