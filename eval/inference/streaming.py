"""One text, generated a few tokens at a time."""

from collections.abc import Iterator

import numpy as np

from lengthwise.eval.inference.cache_programs import Decode
from lengthwise.eval.inference.cached_model import CachedModel
from lengthwise.eval.inference.generation import decode_operands
from lengthwise.model.decode import Sampling

CHUNK = 8  # tokens that are generated before any is shown


def stream(
    model: CachedModel,
    prompt: np.ndarray,
    *,
    sampling: Sampling,
    max_tokens: int,
    seed: int,
    number: int = 0,
    end_of_text: int,
) -> Iterator[np.ndarray]:
    """Generates the continuation of a prompt, int32 [CHUNK] or fewer at a time.

    Together they are what `generate` gives for the `number`-th prompt, up to and with the end of
    text.

    Args:
      prompt: int [n], n >= 1.

    Raises:
      UserError: there are no positions for a text that grows so long.
    """
    calls = -(-max_tokens // CHUNK)
    longest = len(prompt) + max_tokens - 1  # the last token is never an input
    kind = model.kind(1, model.capacity(len(prompt) + calls * CHUNK), longest)
    tables = model.steady_tables(len(prompt), longest)
    numbers = [number] * kind.batch
    cache = model.new_cache(kind, numbers, [longest] * kind.batch)
    cache = model.fill(kind, cache, [prompt[:-1]] * kind.batch, tables)
    run = model.inference.programs.get(Decode(kind, sampling, CHUNK, end_of_text))
    text = prompt
    for drawn in range(0, max_tokens, CHUNK):
        operands = decode_operands(
            model, sampling, [text] * kind.batch, numbers, seed, tables, drawn
        )
        tokens_BN, cache = run(model.params, cache, *operands)
        tokens_N = np.asarray(tokens_BN)[0][: max_tokens - drawn]
        ends = np.flatnonzero(tokens_N == end_of_text)
        yield tokens_N[: ends[0] + 1] if ends.size else tokens_N
        if ends.size:
            return
        text = np.concatenate([text, tokens_N])
