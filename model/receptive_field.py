"""Receptive field of a row's last tokens under masks that hide far keys."""

import numpy as np

from lengthwise.model.attention.masks import Mask
from lengthwise.model.spec import ModelSpec


def receptive_columns(
    model: ModelSpec, mask: Mask, length: int, last: int, halved: bool = False
) -> np.ndarray | None:
    """Columns of a row of `length` tokens on which the states of the last `last` tokens depend.

    A pass over these columns alone, at the positions of the whole row, gives these states: masks go
    by index, and among the columns every index that matters sees what it sees in the row. They are
    those of the sinks, and a stretch up to the end.

    halved: they are a half of the row, a quarter ..., so that devices that divide rows of `length`
    tokens divide these too.

    Returns: int [n], ascending; None: all, or so many that leaving out the others doesn't pay.
    """
    scheme = model.input_scheme
    reads_neighbours = scheme is not None and scheme.lookback > 0
    if reads_neighbours or not all(scheme.beyond_span for scheme in model.schemes):
        return None
    masks = model.layer_masks(mask)
    windows = [each.window for each in masks if each.window is not None]
    if len(windows) == len(masks):
        # A layer sees window - 1 keys back, each smeared with the key before it, or not. Tokens at
        # the beginning of the stretch see too little; that doesn't reach the last ones.
        back = sum(
            model.layers_at(place) * (window - 1 + model.smeared_keys)
            for place, window in enumerate(windows)
        )
        sinks, first = max(each.sinks for each in masks), length - last - back
    elif mask.chunk is not None and set(masks) == {mask}:
        # Whole chunks are left out, so that chunks by index stay what they were.
        sinks = -(-mask.sinks // mask.chunk) * mask.chunk
        first = (length - last) // mask.chunk * mask.chunk
    else:
        return None
    if halved:
        count = length
        while count % 2 == 0 and count // 2 >= sinks + length - first:
            count //= 2
        first = length - count + sinks
        if mask.chunk is not None and first % mask.chunk:
            return None
    if 4 * (first - sinks) < length:
        return None
    return np.concatenate([np.arange(sinks), np.arange(first, length)])
