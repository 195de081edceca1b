"""File of the right tokens of single samples, for paired comparisons of runs."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lengthwise.common.array_file import load_arrays
from lengthwise.common.errors import UserError
from lengthwise.common.files import atomic_write
from lengthwise.eval.answers.score import Hits

HITS = Path("eval") / "answers.npz"  # in a work directory


def save_hits(hits: Sequence[Hits], path: Path) -> None:
    """Writes an .npz of K lengths with N samples each: lengths [K], hits and tokens [N, K]."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        lengths=np.array([each.length for each in hits]),
        hits=np.stack([each.hits_N for each in hits], axis=1),
        tokens=np.stack([each.tokens_N for each in hits], axis=1),
    )
    atomic_write(path, [buffer.getvalue()])


def load_hits(workdir: Path) -> list[Hits]:
    """Reads the file of `save_hits` in a work directory. Raises UserError: none, or no whole one.

    Sample i of a length is the same problem in all runs with the same data.task.
    """
    path = workdir / HITS
    try:
        arrays = load_arrays(path)
        columns = zip(arrays["lengths"], arrays["hits"].T, arrays["tokens"].T, strict=True)
        return [Hits(int(length), hits_N, tokens_N) for length, hits_N, tokens_N in columns]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} can't be read ({error}); score with --mode=eval --workdir={workdir}"
        ) from error
