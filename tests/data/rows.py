"""Rows of a bucket without a layout."""

import numpy as np

from lengthwise.data.layouts.row_groups import RowGroups, Stratum
from lengthwise.data.schedule.sampling import SamplingConfig

ONE_STRATUM = (Stratum("all", 0),)
AS_THEY_COME = SamplingConfig((), (), stratify=False, shuffle_blocks=0)


def one_group(rows: int) -> RowGroups:
    """Rows of one stratum in one block."""
    return RowGroups.of(np.array([0]), np.array([0]), np.array([rows]))
