"""Text generation: greedy or sampled, in batches of prompts of any lengths."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lengthwise.common.errors import UserError, one_line
from lengthwise.common.files import atomic_write
from lengthwise.common.paths import user_path
from lengthwise.common.progress import ProgressBar
from lengthwise.common.texts import read_text
from lengthwise.data.store.tokenizers import Tokenizer
from lengthwise.eval.config import GenerateConfig
from lengthwise.eval.inference.cache_programs import Decode
from lengthwise.eval.inference.cached_model import CachedModel, batch_rows, power_of_two
from lengthwise.eval.inference.growing_text import GrowingText
from lengthwise.eval.inference.start_token import StartToken
from lengthwise.model.decode import Sampling
from lengthwise.model.transformer import Tables

GREEDY = Sampling(temperature=0.0, top_k=0, top_p=1.0)


def generate(
    model: CachedModel,
    prompts: Sequence[np.ndarray],
    *,
    sampling: Sampling,
    max_tokens: int,
    seed: int,
    end_of_text: int,
) -> list[np.ndarray]:
    """Generates a continuation of each prompt, int32, up to and with the first end of text.

    The i-th continuation depends on (prompts[i], i, seed), and but for rounding not on the other
    prompts.

    Args:
      prompts: int [n] each, n >= 1.

    Raises:
      UserError: there are no positions for prompts that grow so long, see `steady_tables` too.
    """
    if not all(map(len, prompts)):
        raise ValueError("a prompt has one token at least")
    # Prompts of like lengths together: padding is computed too.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    generated: list[np.ndarray] = [np.zeros(0, np.int32)] * len(prompts)
    capacity = model.capacity(max(map(len, prompts)) + max_tokens)
    at_a_time = model.inference.batching.cached_rows(capacity)
    starts = range(0, len(prompts), at_a_time)
    for start in ProgressBar(starts, desc="generating", unit="batch", disable=None):
        members = order[start : start + at_a_time]
        lengths = [len(prompts[i]) for i in members]
        longest = max(lengths) + max_tokens - 1  # the last token is never an input
        kind = model.kind(power_of_two(len(members)), capacity, longest)
        tables = model.steady_tables(min(lengths), longest)
        padded = [members[i] for i in batch_rows(0, kind.batch, len(members))]
        cache = model.new_cache(kind, padded, [len(prompts[i]) + max_tokens - 1 for i in padded])
        cache = model.fill(kind, cache, [prompts[i][:-1] for i in padded], tables)
        run = model.inference.programs.get(Decode(kind, sampling, max_tokens, end_of_text))
        texts = [prompts[i] for i in padded]
        operands = decode_operands(model, sampling, texts, padded, seed, tables)
        tokens_BN, _ = run(model.params, cache, *operands)
        for i, tokens_N in zip(members, np.asarray(tokens_BN), strict=False):
            ends = np.flatnonzero(tokens_N == end_of_text)
            generated[i] = tokens_N[: ends[0] + 1] if ends.size else tokens_N
    return generated


def decode_operands(
    model: CachedModel,
    sampling: Sampling,
    texts: Sequence[np.ndarray],
    numbers: Sequence[int],
    seed: int,
    tables: Tables,
    drawn: int = 0,
) -> list[Any]:
    """Operands of `Decode` behind the cache.

    texts: tokens of each row so far, int [n]. numbers: of each row, which its draws depend on.
    drawn: how many of the tokens were generated.
    """
    operands = [
        np.array([text[-1] for text in texts], np.int32),
        np.array([len(text) for text in texts], np.int32),
        np.array(numbers, np.int32),
        np.uint32(seed),
        tables,
        np.int32(drawn),
    ]
    if sampling.repetition_penalty == 1:
        return operands
    seen_BV = np.zeros((len(texts), model.inference.architecture.model.vocab_size), np.bool_)
    for row, text in enumerate(texts):
        seen_BV[row, text] = True
    return [*operands, seen_BV]


def generate_texts(
    model: CachedModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    config: GenerateConfig,
    sampling: Sampling,
    start: StartToken,
) -> list[dict[str, Any]]:
    """Generates a row a prompt and sample: prompt, sample, text, tokens, ended, sampling, seed.

    A text ends before the first of `config.stop`; its tokens are all that were generated.
    """
    encoded = [start.before(tokens) for tokens in tokenizer.encode_batch(list(prompts))]
    numbered = [(i, sample) for i in range(len(prompts)) for sample in range(config.samples)]
    generated = generate(
        model,
        [encoded[i] for i, _ in numbered],
        sampling=sampling,
        max_tokens=config.max_tokens,
        seed=config.seed,
        end_of_text=tokenizer.end_of_text,
    )
    rows = []
    for (i, sample), tokens in zip(numbered, generated, strict=True):
        text = GrowingText(tokenizer, encoded[i], config.stop)
        text.add(tokens)
        rows.append(text_row(prompts[i], sample, text, sampling, config.seed))
    return rows


def text_row(
    prompt: str, sample: int, text: GrowingText, sampling: Sampling, seed: int
) -> dict[str, Any]:
    """The row of one generated text, as `save_rows` writes it."""
    return {
        "prompt": prompt,
        "sample": sample,
        "text": text.text,
        "tokens": text.tokens.tolist(),
        "ended": text.ended,
        "sampling": dataclasses.asdict(sampling),
        "seed": seed,
    }


def save_rows(directory: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Writes NUMBER.jsonl, the next number of the directory; returns its path."""
    taken = [int(path.stem) for path in directory.glob("*.jsonl") if path.stem.isdecimal()]
    path = directory / f"{max(taken, default=0) + 1:04}.jsonl"
    atomic_write(path, [(json.dumps(row) + "\n").encode("ascii") for row in rows])
    return path


def read_prompts(config: GenerateConfig) -> list[str]:
    """Reads the prompts that the config names.

    Raises:
      UserError: both or neither are given, or the file can't be read or is empty.
    """
    if bool(config.prompt) == bool(config.prompts):
        raise UserError(
            "give either generate.prompt, a text, or generate.prompts, a file with a prompt a "
            "line, or neither on a terminal, which is read then"
        )
    if config.prompt:
        try:
            config.prompt.encode("utf-8")
        except UnicodeEncodeError as error:  # bytes of a command line that are no UTF-8
            raise UserError(
                f"generate.prompt={config.prompt!a} is not UTF-8 at character {error.start}; "
                "write it in UTF-8, or into a file for generate.prompts"
            ) from error
        return [config.prompt]
    field, instead = "generate.prompts", "name a text file in UTF-8 with a prompt a line"
    lines = read_text(user_path(config.prompts, field), field, instead).split("\n")
    if not any(lines):
        raise UserError(f"generate.prompts={config.prompts!r} holds no prompt")
    if not config.prompts.endswith(".jsonl"):
        return [line for line in lines if line]
    return [_json_prompt(line, number) for number, line in enumerate(lines, start=1) if line]


def _json_prompt(line: str, number: int) -> str:
    try:
        prompt = json.loads(line)
        if not isinstance(prompt, str):
            raise ValueError("no string")
        prompt.encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"generate.prompts, line {number}: {one_line(error)}; a .jsonl has a JSON string a "
            'line, such as "one\\ntwo"'
        ) from error
    return prompt
